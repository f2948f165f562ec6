# SPDX-License-Identifier: Apache-2.0
"""Losing packets on purpose.

A packet is dropped where it arrives, in the receiver's prerouting hook. Dropped in the sender's
output hook it would not be lost but refused: ``ip_queue_xmit`` returns an error, ``snd_nxt`` stays
and TCP arms the zero-window probe instead of the retransmission timer.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from tests.kernel.kit.host import Host

EVERYTHING = "meta l4proto tcp"
FINS = "tcp flags & fin == fin"
RESETS = "tcp flags & rst == rst"
PURE_ACKS = "tcp flags & (fin | syn | rst | psh | ack) == ack"

_numbers = itertools.count()


class Drop:
    """While in force, ``host`` loses the arriving packets that ``match`` (nft syntax) selects."""

    def __init__(self, host: Host, match: str = EVERYTHING, *, family: str = "inet") -> None:
        self._host = host
        self._table = f"{family} fault{next(_numbers)}"
        hook = "input" if family == "arp" else "prerouting"
        self._host.run(
            "nft",
            "-f",
            "-",
            text=f"table {self._table} {{\n"
            f"chain c {{\n type filter hook {hook} priority -300;\n {match} counter drop\n}}\n}}\n",
        )
        self._lifted = False

    def packets(self) -> int:
        """Packets lost to this rule so far."""
        listing = json.loads(self._host.run("nft", "-j", "list", "table", *self._table.split()))
        for entry in listing["nftables"]:
            for part in entry.get("rule", {}).get("expr", ()):
                if "counter" in part:
                    return int(part["counter"]["packets"])
        raise AssertionError(f"no counter in {listing}")

    def lift(self) -> None:
        """Packets arrive again. May be called twice."""
        if not self._lifted:
            self._lifted = True
            self._host.run("nft", "delete", "table", *self._table.split())

    def __enter__(self) -> Drop:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.lift()


@contextmanager
def held(sender: Host, receiver: Host) -> Iterator[None]:
    """IPv4 packets from ``sender`` wait on their way to ``receiver`` and leave, in order, at the end.

    They wait for the link address of the receiver, in the sender's neighbour queue.
    """
    neighbour = (receiver.addresses[4], "dev", "eth0")
    with Drop(sender, "arp operation {1, 2}", family="arp"):
        sender.run("ip", "neigh", "del", *neighbour)
        yield
        sender.run("ip", "neigh", "replace", *neighbour, "lladdr", receiver.link_address)
