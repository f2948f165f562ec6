# SPDX-License-Identifier: Apache-2.0
"""What docs/verdicts/ shows happens on this kernel as well: the same packets, the same lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from scripts.pages.ladder_file import FAMILY, load, recorded
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.play.outcome import ENDS, Job, Outcome
from tracetw.lab.play.runner import TRACE, Runner
from tracetw.lab.play.tracer import Line, Tracer

# Without timers, so that the number of packets does not depend on how busy the machine is.
NAMES = ("linger-0", "close-with-unread-data", "late-data-closed-socket", "connect-refused")


def test_ladders_come_out_again() -> None:
    jobs = [Job(BY_NAME[name], FAMILY) for name in NAMES]
    with Tracer(*TRACE) as tracer, Runner(tracer, jobs) as runner:
        outcomes = [runner.outcome(job) for job in jobs]
        assert runner.finish() == []
    for name, outcome in zip(NAMES, outcomes, strict=True):
        assert outcome.problems == []
        assert shape(outcome) == shape(load(name))
        assert recorded(outcome).keys() == recorded(load(name)).keys()


def shape(outcome: Outcome) -> dict[str, Any]:
    """What a new run of the scenario must show, too: the packets, and what each end said."""
    return {
        "wire": [
            (segment.direction, sorted(segment.flags), segment.payload)
            for segment in outcome.segments
        ],
        **{letter: sorted(_said(outcome.lines.get(letter, ()))) for letter in ENDS},
        "events": {
            letter: sorted(line["event"] for line in outcome.events.get(letter, ()))
            for letter in ENDS
        },
    }


def _said(lines: Iterable[Line]) -> Iterator[tuple[str, ...]]:
    for line in lines:
        states = [entry["state"] for entry in line["states"]]
        yield (line["verdict"], str(line["form"]), *states, *line["evidence"])
