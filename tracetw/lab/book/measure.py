# SPDX-License-Identifier: Apache-2.0
"""What can be measured of a run: times on the wire, counts, fields of lines, events, counters.

Segments are chosen by patterns (:attr:`tracetw.lab.expect.scenario.Scenario.wire`). LookupError: there is
none to measure.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tracetw.lab.book.experiment import Measure
from tracetw.lab.expect.match import Claim, between
from tracetw.lab.net.wire import Packet, matches
from tracetw.lab.play.ladder import wall_ns
from tracetw.lab.play.outcome import Outcome
from tracetw.lab.play.tracer import Line
from tracetw.lab.polling import patient

_MS = 1_000_000


def about(low_ms: float, high_ms: float) -> Claim:
    """A time between these, the second of which a slow machine may exceed."""
    return between(low_ms, patient(high_ms))


def gap(first: str, then: str, *, number: int = 0) -> Measure:
    """Milliseconds from a segment, by default the first of its kind, to the next of another kind."""

    def of(outcome: Outcome) -> float:
        start = _matching(outcome, first)[number]
        later = [s for s in _matching(outcome, then) if s is not start and s.at_ns >= start.at_ns]
        return (later[0].at_ns - start.at_ns) / _MS

    return Measure(of, "ms")


def until_end(first: str, letter: str) -> Measure:
    """Milliseconds from the first segment of a kind to the end of the first connection of a host."""

    def of(outcome: Outcome) -> float:
        end = wall_ns(_lines(outcome, letter)[0]["time"])
        return (end - _matching(outcome, first)[0].at_ns) / _MS

    return Measure(of, "ms")


def silence() -> Measure:
    """The longest time without a segment, in milliseconds."""

    def of(outcome: Outcome) -> float:
        return max(two.at_ns - one.at_ns for one, two in pairwise(outcome.segments)) / _MS

    return Measure(of, "ms")


def count(pattern: str) -> Measure:
    """How many segments there are of a kind."""
    return Measure(lambda outcome: len(_matching(outcome, pattern)))


def after(first: str, pattern: str) -> Measure:
    """How many segments of a kind there are after the first of another kind."""

    def of(outcome: Outcome) -> int:
        start = _matching(outcome, first)[0].at_ns
        return sum(segment.at_ns > start for segment in _matching(outcome, pattern))

    return Measure(of)


def field(letter: str, path: str, *, number: int = 0, unit: str = "") -> Measure:
    """A field of a ``close`` line of a host; ``path`` has dots, ``number`` counts from its first end on."""

    def of(outcome: Outcome) -> Any:  # noqa: ANN401 (JSON)
        value: Any = _lines(outcome, letter)[number]
        for name in path.split("."):
            value = value[name]
        return value

    return Measure(of, unit)


def lines(letter: str, name: str, value: object) -> Measure:
    """How many ``close`` lines of a host have this value."""
    return Measure(lambda outcome: sum(line.get(name) == value for line in _lines(outcome, letter)))


def in_state(letter: str, state: str) -> Measure:
    """Milliseconds that the first connection of a host spent in a state before its next one."""

    def of(outcome: Outcome) -> float:
        states = _lines(outcome, letter)[0]["states"]
        for one, two in pairwise(states):
            if one["state"] == state:
                return float(two["at_ms"] - one["at_ms"])
        raise LookupError(f"{letter} was never in {state}")

    return Measure(of, "ms")


def events(letter: str, name: str) -> Measure:
    """How many events of a name a host had."""
    return Measure(lambda outcome: len(_events(outcome, letter, name)))


def between_events(letter: str, first: str, then: str) -> Measure:
    """Milliseconds from the first event of a name to the first of another."""

    def of(outcome: Outcome) -> float:
        ends = (_events(outcome, letter, name)[0]["time"] for name in (first, then))
        start, end = (wall_ns(time) for time in ends)
        return (end - start) / _MS

    return Measure(of, "ms")


def counter(letter: str, name: str) -> Measure:
    """What the kernel of a host counted; the scenario must name the counter."""
    return Measure(lambda outcome: outcome.counters[letter][name])


def _matching(outcome: Outcome, pattern: str) -> list[Packet]:
    return [segment for segment in outcome.segments if matches(pattern, segment)]


def _lines(outcome: Outcome, letter: str) -> list[Line]:
    return sorted(outcome.lines[letter], key=lambda line: str(line["time"]))


def _events(outcome: Outcome, letter: str, name: str) -> list[Line]:
    found = [line for line in outcome.events[letter] if line["event"] == name]
    return sorted(found, key=lambda line: str(line["time"]))
