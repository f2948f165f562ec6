# SPDX-License-Identifier: Apache-2.0
"""The packets of a scenario side by side with what the two ends went through, as text.

Times of states come from the ``close`` lines, those of packets from the capture: both are of the
wall clock, so that they stand in one order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from tracetw.lab.net.host import PORT
from tracetw.lab.net.wire import Packet
from tracetw.lab.play.outcome import ENDS, Outcome
from tracetw.lab.play.tracer import Line

__all__ = ["Rung", "ladder", "ladder_of", "rows", "wall_ns"]

# What happens so close together stands in one row if it has room there.
TOGETHER_NS = 150_000
TIME, SIDE, WIRE = 9, 15, 30
LONGEST, HEAD, TAIL = 44, 26, 14
"""Lines of a ladder that is shown whole; of the others the first and the last."""
_NS = 1_000_000_000
_FLAGS = ("SYN", "FIN", "RST", "PSH", "ACK", "ICMP")


@dataclass(slots=True)
class Rung:
    """A line of the ladder: at the left A, in the middle the wire, at the right B; or a remark."""

    at_ns: int
    a: str = ""
    wire: str = ""
    b: str = ""
    remark: str = ""

    def takes(self, other: Rung) -> bool:
        """Whether ``other`` has room here: causes stand at the left or right of their segment.

        A change of state goes with the segment that follows from it at the same end, a segment with
        the change that it makes at the other.
        """
        if other.at_ns - self.at_ns > TOGETHER_NS or self.remark or other.remark:
            return False
        if max(len(self.a), len(other.a)) > SIDE and (self.wire or other.wire):
            return False
        if other.wire:
            return not self.wire and not (self.b if other.wire.endswith(">") else self.a)
        if self.wire and self.wire.endswith(">") == bool(other.a):
            return False
        return not ((self.a and other.a) or (self.b and other.b))

    def take(self, other: Rung) -> None:
        """Put ``other`` into this row."""
        self.a, self.wire, self.b = self.a or other.a, self.wire or other.wire, self.b or other.b


def wall_ns(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time in UTC with nine digits."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * _NS + int(fraction.ljust(9, "0"))


def _states(end: str, line: Line) -> Iterator[Rung]:
    """``time`` is when the last state began."""
    states = line["states"]
    if not states:
        return
    start = wall_ns(line["time"]) - int(states[-1]["at_ms"] * 1e6)
    for entry in states:
        yield _at(end, start + int(entry["at_ms"] * 1e6), entry["state"])


def _at(end: str, at_ns: int, text: str) -> Rung:
    return Rung(at_ns, a=text) if end == "a" else Rung(at_ns, b=text)


def _arrow(segment: Packet) -> str:
    words = [flag for flag in _FLAGS if flag in segment.flags]
    if segment.payload:
        words.append(f"{segment.payload} bytes")
    text = " ".join(words)
    if segment.direction == "A>B":
        return f"--- {text} ".ljust(WIRE - 1, "-") + ">"
    return "<" + f" {text} ---".rjust(WIRE - 1, "-")


def rows(outcome: Outcome) -> list[Rung]:
    """Everything that happened, in order."""
    found = [Rung(segment.at_ns, wire=_arrow(segment)) for segment in outcome.segments]
    found += [Rung(step.at_ns, remark=step.text) for step in outcome.steps]
    for end in ENDS:
        for line in outcome.lines.get(end, ()):
            found += _states(end, line)
        for event in outcome.events.get(end, ()):
            found.append(_at(end, wall_ns(event["time"]), f"({event['event']})"))
    found.sort(key=lambda row: row.at_ns)
    merged: list[Rung] = []
    for row in found:
        if merged and merged[-1].takes(row):
            merged[-1].take(row)
        else:
            merged.append(row)
    return merged


def ladder(entries: Sequence[Rung]) -> Iterator[str]:
    """Lines of text, at most 80 columns wide but for long remarks."""
    if not entries:
        return
    yield f"{'ms':>{TIME}}  {'A':<{SIDE}} {'':<{WIRE}} B"
    first = entries[0].at_ns
    for row in entries:
        time = f"{(row.at_ns - first) / 1e6:{TIME}.1f}"
        if row.remark:
            yield f"{time}  * {row.remark}"
        else:
            yield f"{time}  {row.a:<{SIDE}} {row.wire:<{WIRE}} {row.b}".rstrip()


def _port(line: Line) -> int:
    """Of the client: both ends have it."""
    ports = (line["local"]["port"], line["remote"]["port"])
    return int(ports[0] if ports[0] != PORT else ports[1])


def ladder_of(outcome: Outcome, shown: Line | None) -> Iterator[str]:
    """The packets and states of one connection, or all of them; without the middle if it is long."""
    lines = list(ladder(rows(outcome if shown is None else _alone(outcome, _port(shown)))))
    if len(lines) <= LONGEST:
        yield from lines
    else:
        yield from lines[:HEAD]
        yield f"{'...':>9}  ({len(lines) - HEAD - TAIL} more lines)"
        yield from lines[-TAIL:]


def _alone(outcome: Outcome, port: int) -> Outcome:
    """What belongs to the connection of a client's port."""
    return replace(
        outcome,
        lines={
            letter: [line for line in outcome.lines[letter] if _port(line) == port]
            for letter in ENDS
        },
        events={
            letter: [line for line in outcome.events[letter] if _port(line) == port]
            for letter in ENDS
        },
        segments=[
            segment
            for segment in outcome.segments
            if port in segment.ports or "ICMP" in segment.flags
        ],
    )
