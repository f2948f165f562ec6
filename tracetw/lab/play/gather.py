# SPDX-License-Identifier: Apache-2.0
"""What was seen of a scenario: counters, lines and events of both ends, waited for and checked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tracetw.host.clock import rfc3339
from tracetw.lab.expect.kernel import TW_AT_BIRTH, shown
from tracetw.lab.expect.lines import ALWAYS, NO_RETRANSMITS, addressed
from tracetw.lab.expect.match import differences, one_of
from tracetw.lab.expect.scenario import Expectation, as_lines
from tracetw.lab.net.host import Host
from tracetw.lab.net.topology import Net
from tracetw.lab.play.check import check_events, check_lines, check_sums
from tracetw.lab.play.left import left
from tracetw.lab.play.outcome import ENDS, Job, Outcome, ProblemKind
from tracetw.lab.play.tracer import Line, Tracer
from tracetw.lab.polling import PERIOD_S, STOP, patient

__all__ = ["collect", "lines_of", "repetitions", "thread_name"]

LINES_DEADLINE_S = 10.0
COUNTERS_DEADLINE_S = 3.0


def collect(tracer: Tracer, job: Job, net: Net, outcome: Outcome) -> None:
    """Fill in what was seen and what is wrong. Each is waited for, unless the play failed."""
    scenario = job.scenario
    patience = 0.0 if outcome.problems else 1.0
    for letter in sorted({*ENDS} - net.gone.keys()):
        counted = scenario.counters.get(letter, {})
        read = net.hosts[letter].counters
        miscounted = partial(_miscounted, letter, counted, read)
        outcome.add(ProblemKind.COUNTERS, _settled(miscounted, COUNTERS_DEADLINE_S * patience))
        outcome.counters[letter] = read()
        if letter in scenario.timewait:
            wanted = scenario.timewait[letter]
            wrong = partial(_left_otherwise, letter, wanted, net.hosts[letter])
            outcome.add(ProblemKind.LEFT, _settled(wrong, COUNTERS_DEADLINE_S * patience))
    for letter in ENDS:
        expected = expected_lines(job, net, letter)
        _settled(partial(_too_few, tracer, net, letter, len(expected)), LINES_DEADLINE_S * patience)
        outcome.lines[letter] = lines_of(tracer, net, letter)
        outcome.add(ProblemKind.LINES, check_lines(letter, expected, outcome.lines[letter]))
        if "RetransSegs" not in scenario.counters.get(letter, {}):
            outcome.add(
                ProblemKind.PLAY, repetitions(letter, expected, outcome.counters.get(letter, {}))
            )
    for letter in ENDS:
        wanted = scenario.events.get(letter, {})
        missing = partial(_missing_events, tracer, net, letter, wanted)
        outcome.add(ProblemKind.EVENTS, _settled(missing, LINES_DEADLINE_S * patience))
        outcome.events[letter] = _events(tracer, net, letter)
        summed = outcome.lines[letter], _adding_up(outcome.counters.get(letter, {}))
        outcome.add(ProblemKind.SUMS, check_sums(letter, *summed, scenario.differs.get(letter, {})))


def lines_of(tracer: Tracer, net: Net, letter: str) -> list[Line]:
    """The ``close`` lines of a host so far."""
    lines = tracer.select(kind="close", netns=net.hosts[letter].netns)
    port = net.gone.get(letter)
    # The number may have been that of a host that is gone.
    born = rfc3339(net.born_ns)
    return [
        line for line in lines if line["time"] >= born and port in (None, line["local"]["port"])
    ]


def thread_name(job: Job) -> str:
    """Name of the thread that plays, as the kernel keeps it."""
    return f"lab-{job.scenario.name}"[:15]


def _events(tracer: Tracer, net: Net, letter: str) -> list[Line]:
    netns = net.hosts[letter].netns
    timewaits = tracer.select(kind="timewait", netns=netns)
    return timewaits + tracer.select(kind="drop", netns=netns)


def _adding_up(counters: Mapping[str, int]) -> Mapping[str, int]:
    """Without what this kernel counts when nobody waits for it any longer: at the end of TIME_WAIT."""
    if TW_AT_BIRTH in shown():
        return counters
    return {name: value for name, value in counters.items() if name != "TW"}


def _miscounted(
    letter: str, counted: Expectation, read: Callable[[], Mapping[str, int]]
) -> list[str]:
    return differences(counted, read(), letter)


def _left_otherwise(letter: str, wanted: Expectation, host: Host) -> list[str]:
    return [f"timewait of {text}" for text in differences(wanted, left(host), letter)]


def _too_few(tracer: Tracer, net: Net, letter: str, wanted: int) -> list[str]:
    return ["too few"] if len(lines_of(tracer, net, letter)) < wanted else []


def _missing_events(tracer: Tracer, net: Net, letter: str, wanted: Expectation) -> list[str]:
    return check_events(letter, wanted, _events(tracer, net, letter))


def expected_lines(
    job: Job, net: Net, letter: str, ours: Expectation | None = None
) -> list[Expectation]:
    """The whole expectation of each line of a host. ``ours``: who holds the sockets of the play."""
    seen = {end: net.hosts[end].addresses[job.family] for end in ENDS}
    if job.scenario.nat and letter == "b":
        seen["a"] = net.seen_by_b[job.family]
    found: list[Expectation] = []
    for number, line in enumerate(as_lines(getattr(job.scenario, letter))):
        where = addressed(line["role"], seen, job.family)
        learnt = net.learnt.get(letter, {}).get(number, {})
        found.append(
            {**ALWAYS, **where, **(_ours(job) if ours is None else ours), **line, **learnt}
        )
    return found


def repetitions(
    letter: str, expected: Sequence[Expectation], counters: Mapping[str, int]
) -> list[str]:
    """A host that was too slow for a timer: the kernel sent again what no claim repeats."""
    counted = counters.get("RetransSegs", 0)
    quiet = [line.get("retransmits") == NO_RETRANSMITS for line in expected]
    if counted and quiet and all(quiet):
        return [f"{letter} sent {counted} segments again, which belongs to no claim"]
    return []


def _ours(job: Job) -> Expectation:
    """The owner of a socket held by the thread that plays."""
    process = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    return {"pid": os.getpid(), "comm": one_of(thread_name(job), process), "uid": os.getuid()}


def _settled(problems: Callable[[], list[str]], deadline_s: float) -> list[str]:
    """The problems once there are none, or those that remain at the deadline."""
    end = time.monotonic() + patient(deadline_s)
    while found := problems():
        if time.monotonic() > end or STOP.wait(PERIOD_S):
            break
    return found
