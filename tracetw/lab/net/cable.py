# SPDX-License-Identifier: Apache-2.0
"""Throw-away hosts and cables: A (10.99.x.1, fd99:x::1) and B (10.99.x.2, fd99:x::2), or a router.

With the router R, A is 10.98.x.1 (fd98:x::1) and also 10.98.x.2 (fd98:x::2), and R translates both
to its own address on B's side, which is then 10.99.x.1 (fd99:x::1): B sees the same either way.

The number x is this process's own (:data:`LAB`), so that two labs at once do not take each other's
connections for theirs.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from pyroute2 import IPRoute

from tracetw.lab.net.host import Host
from tracetw.lab.polling import eventually

__all__ = ["DIRECT", "LAB", "NAT", "Cable", "Port", "addresses", "join", "networks"]

IFA_F_NODAD = 0x02
NUD_PERMANENT = 0x80
FOREVER = 0xFFFFFFFF
V6 = 6
HOST_ROUTE = f"{128:02x}"
PREFIX = {4: 24, 6: 64}


@dataclass(frozen=True, slots=True)
class Port:
    """Where a cable is plugged in: host letter, interface, its MAC and its addresses."""

    letter: str
    ifname: str
    link_address: str
    addresses: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Cable:
    """Two interfaces joined."""

    one: Port
    other: Port


LAB = secrets.randbelow(250) + 1
"""Third byte of all addresses here (second group of the IPv6 ones)."""


def networks(net: int) -> dict[int, str]:
    """The networks of a cable: 99 is B's, 98 the one behind the router."""
    return {4: f"10.{net}.{LAB}.0/24", 6: f"fd{net}:{LAB:x}::/64"}


def addresses(net: int, last: int) -> dict[int, str]:
    """Addresses of a cable, by IP version."""
    return {4: f"10.{net}.{LAB}.{last}", 6: f"fd{net}:{LAB:x}::{last}"}


def _port(letter: str, ifname: str, number: int, net: int, *lasts: int) -> Port:
    all_ = tuple(pair for last in lasts for pair in addresses(net, last).items())
    return Port(letter, ifname, f"02:00:00:00:00:{number:02x}", all_)


_B = _port("b", "eth0", 2, 99, 2)
DIRECT = (Cable(_port("a", "eth0", 1, 99, 1), _B),)
NAT = (
    Cable(_port("a", "eth0", 1, 98, 1, 2), _port("r", "eth0", 3, 98, 254)),
    Cable(_port("r", "eth1", 4, 99, 1), _B),
)
"""The cables of the two topologies; a host's first address is the one it is known by."""


def join(cable: Cable, one: Host, other: Host) -> None:
    """Plug a cable into its two hosts; it works when this returns."""
    with one.entered(), IPRoute() as netlink:
        peer = {"ifname": cable.other.ifname, "net_ns_fd": other.fileno()}
        netlink.link("add", ifname=cable.one.ifname, kind="veth", peer=peer)
    _plug_in(one, cable.one, cable.other)
    _plug_in(other, cable.other, cable.one)
    for host, port in ((one, cable.one), (other, cable.other)):
        eventually(partial(_carries, host, port), what=f"{port.ifname} is up")


def _plug_in(host: Host, port: Port, peer: Port) -> None:
    """Addresses, and the peer's link address for good: no first packet waits for a neighbour."""
    with host.entered(), IPRoute() as netlink:
        index = netlink.link_lookup(ifname=port.ifname)[0]
        seen: set[int] = set()
        for family, address in port.addresses:
            # IPv6 prefers the newest address: the others are for those who bind to them.
            second = (
                {"preferred_lft": 0, "valid_lft": FOREVER}
                if family == V6 and family in seen
                else {}
            )
            seen.add(family)
            netlink.addr(
                "add",
                index=index,
                address=address,
                prefixlen=PREFIX[family],
                flags=IFA_F_NODAD,
                **second,
            )
        netlink.link("set", index=1, state="up")
        netlink.link("set", index=index, address=port.link_address, state="up")
        for _, address in peer.addresses:
            netlink.neigh(
                "replace", dst=address, lladdr=peer.link_address, ifindex=index, state=NUD_PERMANENT
            )


def _carries(host: Host, port: Port) -> bool:
    """Whether the link is up and takes packets for its IPv6 addresses.

    Before, packets vanish in the queueing discipline; and the kernel makes the routes to IPv6
    addresses later than the link (``addrconf_dad_work``), so that a first SYN would be lost.
    """
    with host.entered(), IPRoute() as netlink:
        index = netlink.link_lookup(ifname=port.ifname)[0]
        up = netlink.get_links(index)[0].get_attr("IFLA_OPERSTATE") == "UP"
        routes = Path("/proc/thread-self/net/ipv6_route").read_text(encoding="ascii")
    local = {line.split()[0] for line in routes.splitlines() if line.split()[1] == HOST_ROUTE}
    sixes = {ip_address(address).packed.hex() for family, address in port.addresses if family == V6}
    return up and sixes <= local
