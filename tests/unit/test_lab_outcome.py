# SPDX-License-Identifier: Apache-2.0
"""What may be played again, because it says nothing of the tracer, and what may not."""

from __future__ import annotations

import json

import pytest

from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.outcome import Job, Kind, Outcome
from tracetw.lab.show import outcome_json, outcome_text


def outcome(*kinds: Kind) -> Outcome:
    made = Outcome(Job(BY_NAME["linger-0"], 4))
    for kind in kinds:
        made.add(kind, ["something"])
    return made


@pytest.mark.parametrize(
    "kinds",
    [
        (Kind.PLAY,),
        (Kind.WIRE, Kind.COUNTERS),
        # Half a play: no line was due.
        (Kind.PLAY, Kind.COUNTERS, Kind.LINES, Kind.EVENTS, Kind.SUMS, Kind.WIRE),
    ],
)
def test_a_spoiled_mechanism_proves_nothing(kinds: tuple[Kind, ...]) -> None:
    assert outcome(*kinds).spoiled


@pytest.mark.parametrize(
    "kinds",
    [
        (),
        (Kind.LINES,),
        (Kind.EVENTS,),
        (Kind.SUMS,),
        (Kind.ERROR,),
        (Kind.WIRE, Kind.LINES),
        (Kind.COUNTERS, Kind.SUMS),
        (Kind.PLAY, Kind.ERROR),
    ],
)
def test_a_wrong_report_counts_at_once(kinds: tuple[Kind, ...]) -> None:
    assert not outcome(*kinds).spoiled


def test_says_which_kind() -> None:
    failed = outcome(Kind.SUMS)
    assert json.loads(outcome_json(failed))["problems"] == [{"kind": "sums", "text": "something"}]
    assert "WRONG sums" in outcome_text(failed)
