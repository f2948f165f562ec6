# SPDX-License-Identifier: Apache-2.0
"""What was expected against what was seen. Pure: facts in, sentences out, none when all is well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracetw.lab.expect.match import Claim, Expected, differences
from tracetw.lab.expect.scenario import Differs
from tracetw.lab.play.tracer import Line

_TIMED_OUT = frozenset(
    {
        "retransmit-exhausted",
        "fin-exhausted",
        "user-timeout",
        "keepalive-expired",
        "window-probe-expired",
        "output-blocked",
        "connect-timeout",
    }
)


def _died_established(line: Line) -> bool:
    """``tcp_set_state`` counts ESTABLISHED or CLOSE_WAIT to CLOSE, whatever for."""
    states = [entry["state"] for entry in line["states"]]
    return states[-1:] == ["CLOSE"] and states[-2:-1] in (["ESTABLISHED"], ["CLOSE_WAIT"])


SUMS: Mapping[str, Any] = {
    "TCPAbortOnTimeout": lambda line: line["verdict"] in _TIMED_OUT,
    "TCPAbortOnClose": lambda line: line["verdict"] == "abort-unread",
    "TCPAbortOnMemory": lambda line: line["verdict"] == "abort-memory",
    "TCPAbortOnData": lambda line: line["verdict"] in {"abort-linger", "abort-late-data"},
    "TCPTimeWaitOverflow": lambda line: line["time_wait"] == "skipped",
    "TW": lambda line: line["time_wait"] == "local",
    "EstabResets": _died_established,
}
"""Counter to what of a ``close`` line must have bumped it, without a look at code paths."""


def sums(lines: Sequence[Line]) -> dict[str, int]:
    """Counters as the verdicts of a host say they should be."""
    ends = [end for line in lines for end in _ends(line)]
    return {name: sum(map(rule, ends)) for name, rule in SUMS.items()}


def _ends(line: Line) -> list[Line]:
    """The ends of TCP that a line tells of: those of its subflows, if it is a connection of MPTCP.

    A subflow that ended before the connection did has a line of its own.
    """
    mptcp = line.get("mptcp") or {}
    if mptcp.get("role") != "connection":
        return [line]
    return [end for end in mptcp["subflows"] if not end["connection_went_on"]]


def check_sums(
    letter: str,
    lines: Sequence[Line],
    counters: Mapping[str, int],
    differs: Mapping[str, Differs],
) -> list[str]:
    """Verdicts must add up to the kernel's counters, or differ exactly as the scenario explains."""
    found = []
    for name, explained in sums(lines).items():
        if name not in counters:
            continue
        wanted = differs.get(name)
        if wanted is None and counters[name] != explained:
            found.append(f"{letter}: {name}: the kernel counted {counters[name]}, not {explained}")
        if wanted and (counters[name], explained) != (wanted.kernel, wanted.verdicts):
            found.append(
                f"{letter}: {name}: kernel {counters[name]}, verdicts {explained}, not"
                f" {wanted.kernel} and {wanted.verdicts} ({wanted.because})"
            )
    return found


def check_lines(
    letter: str, expected: Sequence[Mapping[str, Expected]], lines: Sequence[Line]
) -> list[str]:
    """Each expected line is there once, in whatever order, and no other."""
    left = list(lines)
    found = []
    for number, wanted in enumerate(expected):
        judged = [(differences(wanted, line), line) for line in left]
        if not judged:
            found.append(f"{letter}: no close line {number + 1} of {len(expected)}")
            continue
        wrong, nearest = min(judged, key=lambda pair: len(pair[0]))
        found += [f"{letter}: {text}" for text in wrong]
        left.remove(nearest)
    found += [f"{letter}: one close line too many: {line['verdict']}" for line in left]
    return found


def check_events(letter: str, expected: Mapping[str, Any], events: Sequence[Line]) -> list[str]:
    """Each named event is there as often, or once with these facts."""
    found = []
    for name, wanted in expected.items():
        of_name = [line for line in events if line["event"] == name]
        if isinstance(wanted, Mapping):
            judged = [differences(wanted, line) for line in of_name]
            if not judged:
                found.append(f"{letter}: no event {name}")
            elif all(judged):
                found += [f"{letter}: event {name}: {text}" for text in min(judged, key=len)]
        elif isinstance(wanted, Claim):
            if not wanted.holds(len(of_name)):
                found.append(f"{letter}: event {name}: {len(of_name)} times, not {wanted.words}")
        elif len(of_name) != wanted:
            found.append(f"{letter}: event {name}: {len(of_name)} times, not {wanted}")
    return found
