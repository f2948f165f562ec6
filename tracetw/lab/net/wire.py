# SPDX-License-Identifier: Apache-2.0
"""What a capture shows: segments read by scapy, and patterns that count them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracetw import extras
from tracetw.lab.expect.match import Claim

_FLAGS = {"F": "FIN", "S": "SYN", "R": "RST", "P": "PSH", "A": "ACK"}
_MAC_OF_B = "02:00:00:00:00:02"


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of TCP, or of ICMP about one.

    Attributes:
        at_ns: wall clock when it passed, nanoseconds since the epoch.
        direction: ``A>B`` or ``B>A`` (the router's packets are those of A).
        flags: names, ``ICMP`` alone for an error message.
        seq, ack: relative to the first numbers seen of the connection; absolute where none was.
        payload: bytes.
        window: as in the header, not scaled.
        ports: source and destination.
    """

    at_ns: int
    direction: str
    flags: frozenset[str]
    seq: int
    ack: int
    payload: int
    window: int
    ports: tuple[int, int]


def read(path: Path, mac: str = _MAC_OF_B, letter: str = "b") -> list[Packet]:
    """The segments of a pcap file, oldest first. ``mac`` is the link address of the host ``letter``."""
    extras.load("scapy.layers.inet6", "lab", "reading captures")
    from scapy.layers.inet import ICMP, TCP  # noqa: PLC0415 (only for labs, and slow)
    from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6  # noqa: PLC0415
    from scapy.layers.l2 import Ether  # noqa: PLC0415
    from scapy.utils import rdpcap  # noqa: PLC0415

    found: list[Packet] = []
    origin: dict[tuple[str, frozenset[int]], int] = {}
    for packet in rdpcap(str(path)):
        at_ns = int(packet.time * 1_000_000_000)
        direction = "B>A" if (packet[Ether].src == mac) == (letter == "b") else "A>B"
        if packet.haslayer(ICMP) or packet.haslayer(ICMPv6DestUnreach):
            found.append(Packet(at_ns, direction, frozenset({"ICMP"}), 0, 0, 0, 0, (0, 0)))
        elif packet.haslayer(TCP):
            tcp = packet[TCP]
            ends = frozenset({tcp.sport, tcp.dport})
            flags = frozenset(_FLAGS[flag] for flag in str(tcp.flags) if flag in _FLAGS)
            other = "A>B" if direction == "B>A" else "B>A"
            if "SYN" in flags or (direction, ends) not in origin:
                origin[direction, ends] = tcp.seq
            if "ACK" in flags:
                origin.setdefault((other, ends), tcp.ack)
            header = packet.getlayer(IPv6)
            if header is not None:
                payload = header.plen - (len(header.payload) - len(tcp)) - tcp.dataofs * 4
            else:
                payload = packet["IP"].len - packet["IP"].ihl * 4 - tcp.dataofs * 4
            found.append(
                Packet(
                    at_ns,
                    direction,
                    flags,
                    (tcp.seq - origin[direction, ends]) & 0xFFFFFFFF,
                    (tcp.ack - origin.get((other, ends), 0)) & 0xFFFFFFFF if "ACK" in flags else 0,
                    payload,
                    tcp.window,
                    (tcp.sport, tcp.dport),
                )
            )
    return found


_WORDS: Mapping[str, Callable[[Packet], bool]] = {
    "FIN": lambda s: "FIN" in s.flags,
    "SYN": lambda s: "SYN" in s.flags,
    "RST": lambda s: "RST" in s.flags,
    "ACK": lambda s: "ACK" in s.flags,
    "ICMP": lambda s: "ICMP" in s.flags,
    "A>B": lambda s: s.direction == "A>B",
    "B>A": lambda s: s.direction == "B>A",
    "DATA": lambda s: s.payload > 0,
    "EMPTY": lambda s: s.payload == 0 and "ICMP" not in s.flags,
    "PURE": lambda s: s.flags == {"ACK"} and s.payload == 0,
    "ZERO": lambda s: s.window == 0 and "ACK" in s.flags and "RST" not in s.flags,
}


def matches(pattern: str, segment: Packet) -> bool:
    """Whether every word of the pattern holds (:attr:`tracetw.lab.expect.scenario.Scenario.wire`)."""
    return all(
        not _WORDS[word[1:]](segment) if word.startswith("!") else _WORDS[word](segment)
        for word in pattern.split()
    )


def disagreements(
    wire: Mapping[str, int | Claim], order: Sequence[str], segments: Sequence[Packet]
) -> list[str]:
    """One sentence for each pattern that the segments do not show as often, or in this order."""
    found = []
    for pattern, count in wire.items():
        seen = sum(matches(pattern, segment) for segment in segments)
        if isinstance(count, Claim):
            if not count.holds(seen):
                found.append(f"{pattern}: {seen}, not {count.words}")
        elif seen != count:
            found.append(f"{pattern}: {seen}, not {count}")
    rest = iter(segments)
    for pattern in order:
        if not any(matches(pattern, segment) for segment in rest):
            found.append(f"no {pattern} where it should follow in {', '.join(order)}")
            break
    return found
