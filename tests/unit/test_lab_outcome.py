# SPDX-License-Identifier: Apache-2.0
"""What may be played again, because it says nothing of the tracer, and what may not."""

from __future__ import annotations

import json

import pytest

from tracetw.lab.catalogue import BY_NAME, SCENARIOS
from tracetw.lab.expect.lines import NO_RETRANSMITS
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.play.gather import repetitions
from tracetw.lab.play.outcome import Job, Outcome, ProblemKind
from tracetw.lab.play.render import outcome_json, outcome_text, scenario_json


def outcome(*kinds: ProblemKind) -> Outcome:
    made = Outcome(Job(BY_NAME["linger-0"], 4))
    for kind in kinds:
        made.add(kind, ["something"])
    return made


@pytest.mark.parametrize(
    "kinds",
    [
        (ProblemKind.PLAY,),
        (ProblemKind.WIRE, ProblemKind.COUNTERS),
        # Half a play: no line was due.
        (
            ProblemKind.PLAY,
            ProblemKind.COUNTERS,
            ProblemKind.LINES,
            ProblemKind.EVENTS,
            ProblemKind.SUMS,
            ProblemKind.WIRE,
        ),
    ],
)
def test_a_spoiled_mechanism_proves_nothing(kinds: tuple[ProblemKind, ...]) -> None:
    assert outcome(*kinds).spoiled


@pytest.mark.parametrize(
    "kinds",
    [
        (),
        (ProblemKind.LINES,),
        (ProblemKind.EVENTS,),
        (ProblemKind.SUMS,),
        (ProblemKind.ERROR,),
        (ProblemKind.WIRE, ProblemKind.LINES),
        (ProblemKind.COUNTERS, ProblemKind.SUMS),
        (ProblemKind.PLAY, ProblemKind.ERROR),
    ],
)
def test_a_wrong_report_counts_at_once(kinds: tuple[ProblemKind, ...]) -> None:
    assert not outcome(*kinds).spoiled


def test_what_the_kernel_sent_again_spoils_a_claim_without_repetitions() -> None:
    quiet, repeats = {"retransmits": NO_RETRANSMITS}, {"retransmits": {"total": 1}}
    assert repetitions("b", [quiet], {"RetransSegs": 1})
    assert repetitions("b", [quiet, quiet], {"RetransSegs": 2})
    assert repetitions("b", [quiet], {"RetransSegs": 0}) == []
    assert repetitions("b", [quiet, repeats], {"RetransSegs": 1}) == []
    assert repetitions("b", [{}], {"RetransSegs": 1}) == []
    assert repetitions("b", [], {"RetransSegs": 1}) == []


def test_says_which_kind() -> None:
    failed = outcome(ProblemKind.SUMS)
    assert json.loads(outcome_json(failed))["problems"] == [{"kind": "sums", "text": "something"}]
    assert "WRONG sums" in outcome_text(failed)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_is_data(scenario: Scenario) -> None:
    """Also where the expectation depends on what the kernel shows."""
    assert json.loads(json.dumps(scenario_json(scenario)))["name"] == scenario.name


def test_what_depends_on_the_kernel_is_told_with_both_answers() -> None:
    expected = scenario_json(BY_NAME["linger-0"])["expected"]["a"][0]
    assert expected["reset"]["known_by"] == "reset-reason"
    assert expected["reset"]["otherwise"]["reason_from"] == "inferred"
