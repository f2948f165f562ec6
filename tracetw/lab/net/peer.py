# SPDX-License-Identifier: Apache-2.0
"""Segments made by hand, spoken in the name of a host that would never send them.

They leave on a packet socket of that host, past its TCP, and cross the cable like any others: the
capture shows them. What passes is heard on the same socket, so that a segment can be put exactly
where its receiver expects the next one, or beside it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracetw import extras
from tracetw.lab.net.host import Host
from tracetw.lab.polling import eventually, require

if TYPE_CHECKING:
    from tracetw.lab.net.topology import Net

__all__ = ["HALF", "WRAP", "Passed", "Peer"]

ETH_P_ALL = 3
SNAP = 65535
WRAP = 1 << 32
HALF = 1 << 31


@dataclass(frozen=True, slots=True)
class Passed:
    """One TCP segment that passed.

    Attributes:
        ours: sent by the host in whose name we speak.
        flags: letters as tcpdump has them.
        seq, end: its first sequence number, and the one after its last (SYN and FIN count).
        stamp: its timestamp (TSval of RFC 7323), None without.
        ports: source and destination.
        frame: all of it, as it was seen.
    """

    ours: bool
    flags: str
    seq: int
    end: int
    stamp: int | None
    ports: tuple[int, int]
    frame: bytes


class Peer:
    """Speaks for ``mouth`` to the host at the other end of its cable, ``ear``.

    Made before the connection is opened, it knows where the last one opened stands. The topology
    takes it down.
    """

    def __init__(self, net: Net, mouth: Host, ear: Host) -> None:
        with mouth.entered():
            self._socket = net.keep(
                socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            )
        self._socket.bind(("eth0", ETH_P_ALL))
        self._socket.setblocking(False)
        self._layers = _layers()
        self._net, self._mouth, self._ear = net, mouth, ear
        self._link = {end: _link_address(host) for end, host in ((True, mouth), (False, ear))}
        self._heard: list[Passed] = []

    def heard(self) -> list[Passed]:
        """Every segment so far, both directions, oldest first; not those made here."""
        while True:
            try:
                frame = self._socket.recv(SNAP)
            except BlockingIOError:
                return self._heard
            packet = self._layers["Ether"](frame)
            if packet.haslayer("TCP"):
                self._heard.append(self._segment(packet, frame))

    def say(
        self, flags: str, *, ahead: int = 0, age: int | None = None, payload: bytes = b""
    ) -> None:
        """Send one segment of the last connection; return when the ear's TCP has received it.

        The arguments are those of :meth:`ready`.
        """
        self.ready(flags, ahead=ahead, age=age, payload=payload)()

    def ready(
        self, flags: str, *, ahead: int = 0, age: int | None = None, payload: bytes = b""
    ) -> Callable[[], None]:
        """Make one segment of the last connection; what is returned sends it, at once, however slow the machine.

        It returns when the ear's TCP has received something since the segment was made.

        Args:
            flags: letters, ``R``, ``PA``.
            ahead: distance from the sequence number that the ear expects next.
            age: ticks by which its timestamp is older than the newest of the mouth; None: it
                carries none.
            payload: its data.
        """
        ports = self._ports()
        tcp: dict[str, Any] = {"sport": ports[0], "dport": ports[1], "flags": flags}
        tcp["seq"] = (self._next(ours=True) + ahead) % WRAP
        if "A" in flags:
            tcp["ack"] = self._next(ours=False)
        if age is not None:
            stamps = ((self._stamp(ours=True) - age) % WRAP, self._stamp(ours=False))
            tcp["options"] = [("NOP", None), ("NOP", None), ("Timestamp", stamps)]
        family = self._net.family
        ends = {"src": self._mouth.addresses[family], "dst": self._ear.addresses[family]}
        packet = (
            self._layers["Ether"](src=self._link[True], dst=self._link[False])
            / self._layers["IP" if family == 4 else "IPv6"](**ends)  # noqa: PLR2004
            / self._layers["TCP"](**tcp)
            / payload
        )
        return self._ready(packet, flags)

    def repeat(self, flags: str, *, first: bool = False) -> None:
        """Send once more, as it was, what the mouth itself sent: a duplicate that took a detour.

        It is the last segment with all these flags that was heard, or the ``first``, which may be of
        a connection before; returns when the ear's TCP has received it.
        """
        found = [s for s in self.heard() if s.ours and set(flags) <= set(s.flags)]
        require(found, f"no {flags} was heard that could be repeated")
        packet = self._layers["Ether"](found[0 if first else -1].frame)
        # On its way out it had none yet: the device would have made it.
        del packet["TCP"].chksum
        self._ready(packet, flags)()

    def _ready(self, packet: Any, flags: str) -> Callable[[], None]:  # noqa: ANN401 (scapy has no types)
        frame, received = bytes(packet), self._ear.counters()["InSegs"]

        def send() -> None:
            self._socket.send(frame)
            eventually(
                lambda: self._ear.counters()["InSegs"] > received, what=f"{flags} has arrived"
            )

        return send

    def _segment(self, packet: Any, frame: bytes) -> Passed:  # noqa: ANN401 (scapy has no types)
        tcp = packet["TCP"]
        flags = str(tcp.flags)
        if packet.haslayer("IPv6"):
            size = packet["IPv6"].plen
        else:
            size = packet["IP"].len - packet["IP"].ihl * 4
        length = size - tcp.dataofs * 4 + ("S" in flags) + ("F" in flags)
        options = dict(option[:2] for option in tcp.options)
        return Passed(
            packet["Ether"].src == self._link[True],
            flags,
            tcp.seq,
            (tcp.seq + length) % WRAP,
            options["Timestamp"][0] if "Timestamp" in options else None,
            (tcp.sport, tcp.dport),
            frame,
        )

    def _connection(self, *, ours: bool) -> list[Passed]:
        """What one end sent of the last connection, from its SYN on."""
        sent = [segment for segment in self.heard() if segment.ours == ours]
        begins = [number for number, segment in enumerate(sent) if "S" in segment.flags]
        require(begins, "no SYN was heard of the connection to speak in")
        return [segment for segment in sent[begins[-1] :] if "R" not in segment.flags]

    def _next(self, *, ours: bool) -> int:
        first, *rest = self._connection(ours=ours)
        newest = first.end
        for segment in rest:
            if (segment.end - newest) % WRAP < HALF:
                newest = segment.end
        return newest

    def _stamp(self, *, ours: bool) -> int:
        stamps = [s.stamp for s in self._connection(ours=ours) if s.stamp is not None]
        require(stamps, "the connection has no timestamps")
        return stamps[-1]

    def _ports(self) -> tuple[int, int]:
        return self._connection(ours=True)[-1].ports


def _layers() -> Mapping[str, Any]:
    """What scapy makes packets of."""
    extras.load("scapy.layers.inet6", "lab", "making segments")
    from scapy.layers.inet import IP, TCP  # noqa: PLC0415 (only for labs, and slow)
    from scapy.layers.inet6 import IPv6  # noqa: PLC0415
    from scapy.layers.l2 import Ether  # noqa: PLC0415

    return {"Ether": Ether, "IP": IP, "IPv6": IPv6, "TCP": TCP}


def _link_address(host: Host) -> str:
    """MAC of the host's end of the cable."""
    fields = host.run("ip", "-o", "link", "show", "dev", "eth0").split()
    return fields[fields.index("link/ether") + 1]
