# SPDX-License-Identifier: Apache-2.0
"""Losing, holding, doubling and refusing packets on purpose.

A packet is dropped where it arrives, in the receiver's prerouting hook. Dropped in the sender's
output hook it would not be lost but refused: ``ip_queue_xmit`` returns an error, ``snd_nxt`` stays
and TCP arms the zero-window probe instead of the retransmission timer (:data:`OUTPUT` does that).
A packet is doubled where it leaves, so that both pass the cable.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import IPRoute

from tracetw.closing import Closing
from tracetw.lab.net.host import Host
from tracetw.lab.net.spawn import run
from tracetw.lab.polling import NotPlayed

__all__ = [
    "DATA",
    "EVERYTHING",
    "FINS",
    "FORWARD",
    "HOST_UNREACHABLE",
    "INPUT",
    "OUTPUT",
    "PREROUTING",
    "PURE_ACKS",
    "RESETS",
    "SYNS",
    "SYN_ACKS",
    "PacketLoss",
    "held",
    "no_doubling",
]

EVERYTHING = "meta l4proto tcp"
FINS = "tcp flags & fin == fin"
RESETS = "tcp flags & rst == rst"
SYNS = "tcp flags & (syn | ack) == syn"
DATA = "tcp flags & (fin | syn | rst | psh | ack) == (psh | ack)"
SYN_ACKS = "tcp flags & (syn | ack) == (syn | ack)"
PURE_ACKS = "tcp flags & (fin | syn | rst | psh | ack) == ack"

PREROUTING, INPUT, FORWARD, OUTPUT = "prerouting", "input", "forward", "output"
HOST_UNREACHABLE = "reject with icmpx type host-unreachable"

_NEIGHBOURS = {
    4: ("arp", "input", "arp operation {1, 2}"),
    6: ("inet", PREROUTING, "icmpv6 type {nd-neighbor-solicit, nd-neighbor-advert}"),
}
NUD_PERMANENT = 0x80
HELD_S = 60
"""How long the kernel asks for a link address, once a second, before it gives up what waits."""

_SEEN = "seen"

_numbers = itertools.count()


class PacketLoss(Closing):
    """While in force, ``host`` loses the packets that ``match`` (nft syntax) selects.

    ``verdict`` is what nft does with them: ``drop``, ``reject with ...``, or ``dup to ...``. With ``once`` only the
    first one from each source port is lost: what is sent again arrives, and nothing must be lifted in time.
    """

    def __init__(
        self,
        host: Host,
        match: str = EVERYTHING,
        *,
        family: str = "inet",
        hook: str = PREROUTING,
        verdict: str = "drop",
        once: bool = False,
    ) -> None:
        if once:
            match += f" tcp sport != @{_SEEN} add @{_SEEN} {{ tcp sport }}"
        self._host = host
        self._table = f"{family} fault{next(_numbers)}"
        self._lifted = False
        self._host.run(
            "nft",
            "-f",
            "-",
            text=f"table {self._table} {{\n"
            f"set {_SEEN} {{\n type inet_service; size 64; flags dynamic;\n}}\n"
            f"chain c {{\n type filter hook {hook} priority -300;\n"
            f" {match} counter {verdict}\n}}\n}}\n",
        )

    def packets(self) -> int:
        """Packets lost to this rule so far."""
        listing = json.loads(self._host.run("nft", "-j", "list", "table", *self._table.split()))
        for entry in listing["nftables"]:
            for part in entry.get("rule", {}).get("expr", ()):
                if "counter" in part:
                    return int(part["counter"]["packets"])
        raise NotPlayed(f"no counter in {listing}")

    def lift(self) -> None:
        """Packets arrive again. May be called twice."""
        if not self._lifted:
            self._lifted = True
            self._host.run("nft", "delete", "table", *self._table.split())

    def close(self) -> None:
        """Lift it."""
        self.lift()


def no_doubling() -> str | None:
    """Why this kernel cannot send packets twice; None if it can."""
    rule = (
        "table ip t {\n chain c {\n type filter hook output priority 0\n dup to 10.0.0.1\n }\n}\n"
    )
    # In a namespace that ends with nft; the kernel looks for the expression first.
    status, _, errors = run(["unshare", "--net", "nft", "-f", "-"], rule)
    return f"no nft dup: {errors.strip().splitlines()[0]}" if status else None


@contextmanager
def held(
    sender: Host, receiver: Host, family: int = 4, *, ifname: str = "eth0", lost: bool = False
) -> Iterator[None]:
    """Packets from ``sender`` wait on their way to ``receiver`` and leave, in order, at the end.

    They wait for the link address of the receiver, in the sender's neighbour queue; with ``lost``
    they are thrown away there, when nobody has told the address for three seconds or at the end.
    """
    table, hook, match = _NEIGHBOURS[family]
    address = receiver.addresses[family]
    with sender.entered(), IPRoute() as netlink:
        index = netlink.link_lookup(ifname=ifname)[0]
        if not lost:
            settings = Path(f"/proc/sys/net/ipv{family}/neigh/{ifname}/mcast_solicit")
            settings.write_text(f"{HELD_S}\n", encoding="ascii")
        known = netlink.get_neighbours(dst=address, ifindex=index)[0].get_attr("NDA_LLADDR")
    with PacketLoss(sender, match, family=table, hook=hook):
        with sender.entered(), IPRoute() as netlink:
            netlink.neigh("del", dst=address, ifindex=index)
        yield
        with sender.entered(), IPRoute() as netlink:
            if lost:
                netlink.neigh("del", dst=address, ifindex=index)
            netlink.neigh("replace", dst=address, lladdr=known, ifindex=index, state=NUD_PERMANENT)
