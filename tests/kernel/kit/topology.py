# SPDX-License-Identifier: Apache-2.0
"""Two throw-away hosts joined by a cable: A (10.99.0.1, fd99::1) and B (10.99.0.2, fd99::2)."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from pyroute2 import IPRoute

from tests.kernel.kit.faults import EVERYTHING, Drop
from tests.kernel.kit.host import PORT, Host
from tests.kernel.kit.polling import eventually
from tests.kernel.kit.processes import Actor

IFA_F_NODAD = 0x02
NUD_PERMANENT = 0x80
PREFIX = {4: 24, 6: 64}

# Every setting that a verdict depends on, so that no test depends on the machine it runs on.
SYSCTLS: dict[str, int] = {
    "tcp_retries2": 15,
    "tcp_orphan_retries": 0,
    "tcp_fin_timeout": 60,
    "tcp_syn_retries": 6,
    "tcp_keepalive_time": 7200,
    "tcp_keepalive_intvl": 75,
    "tcp_keepalive_probes": 9,
    "tcp_timestamps": 1,
    "tcp_tw_reuse": 2,
    "tcp_rfc1337": 0,
    "tcp_max_tw_buckets": 65536,
    "tcp_abort_on_overflow": 0,
}


@dataclass(frozen=True, slots=True)
class Link:
    """The sockets of one connection, its end in A and its end in B, and B's listener."""

    a: socket.socket
    b: socket.socket
    listener: socket.socket


def _plug_in(host: Host, peer: Host) -> None:
    """Addresses, and the peer's link address for good: no first packet waits for a neighbour."""
    with host.entered(), IPRoute() as netlink:
        index = netlink.link_lookup(ifname="eth0")[0]
        for family, address in host.addresses.items():
            length = PREFIX[family]
            netlink.addr("add", index=index, address=address, prefixlen=length, flags=IFA_F_NODAD)
        netlink.link("set", index=1, state="up")
        netlink.link("set", index=index, address=host.link_address, state="up")
        for address in peer.addresses.values():
            netlink.neigh(
                "replace", dst=address, lladdr=peer.link_address, ifindex=index, state=NUD_PERMANENT
            )


def _carries(host: Host) -> bool:
    """Whether the link is up: before, packets vanish in the queueing discipline."""
    with host.entered(), IPRoute() as netlink:
        index = netlink.link_lookup(ifname="eth0")[0]
        return bool(netlink.get_links(index)[0].get_attr("IFLA_OPERSTATE") == "UP")


class Pair:
    """The two hosts and all that lives on them; leaving the context undoes everything."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        with ExitStack() as undo:
            tag = secrets.token_hex(3)
            self.a = Host(f"kt{tag}a", 1)
            undo.callback(self.a.remove)
            self.b = Host(f"kt{tag}b", 2)
            undo.callback(self.b.remove)
            self._wire()
            for host in (self.a, self.b):
                host.sysctl(**SYSCTLS)
            self._stack = undo.pop_all()

    def _wire(self) -> None:
        with self.a.entered(), IPRoute() as netlink:
            peer = {"ifname": "eth0", "net_ns_fd": self.b.fileno()}
            netlink.link("add", ifname="eth0", kind="veth", peer=peer)
        _plug_in(self.a, self.b)
        _plug_in(self.b, self.a)
        for host in (self.a, self.b):
            eventually(partial(_carries, host))

    def connect(self, family: int = 4, **client_options: int) -> Link:
        """A connection from A to B, accepted.

        ``client_options`` are TCP socket options of the client by name, set before it connects.
        """
        listener = self.keep(self.b.listen(family))
        client = self.keep(self.a.tcp_socket(family))
        for name, value in client_options.items():
            client.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        client.connect((self.b.addresses[family], PORT))
        accepted = self.keep(listener.accept()[0])
        accepted.settimeout(client.gettimeout())
        return Link(client, accepted, listener)

    def actor(self, host: Host, comm: str) -> Actor:
        """A process of its own on ``host``, ended at the latest with the topology."""
        folder = self._stack.enter_context(TemporaryDirectory())
        with host.entered():
            return self._stack.enter_context(Actor(comm, Path(folder)))

    def drop(self, host: Host, match: str = EVERYTHING) -> Drop:
        """``host`` loses what ``match`` selects, until lifted."""
        return self._stack.enter_context(Drop(host, match))

    def keep(self, made: socket.socket) -> socket.socket:
        """``made`` is closed at the latest with the topology."""
        self._stack.callback(made.close)
        return made

    def __enter__(self) -> Pair:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stack.close()
