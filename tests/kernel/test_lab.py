# SPDX-License-Identifier: Apache-2.0
"""The catalogue of ``tracetw lab``, every scenario with every IP version, under one tracer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from tracetw.lab.catalogue import SCENARIOS
from tracetw.lab.outcome import Job, Outcome
from tracetw.lab.runner import TRACE, Runner
from tracetw.lab.tracer import Tracer

JOBS = [Job(scenario, family) for scenario in SCENARIOS for family in scenario.families]

# The first test waits for the scenario's turn, and all play at once.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Plays what was selected. At the end nothing may be unexplained or reported twice."""
    selected = [
        cast("Job", item.callspec.params["job"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    with Tracer(*TRACE) as tracer, Runner(tracer, selected) as playing:
        yield playing
        assert playing.finish() == []


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.title)
def test_scenario(runner: Runner, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = runner.outcome(job)
    if outcome.skipped is not None:
        pytest.skip(outcome.skipped)
    if outcome.spoiled:
        # Many play at once: a machine busy with others can spoil the timing of a fault. That says
        # nothing of the tracer, so it plays once more, alone. A wrong report never does.
        with capsys.disabled():
            print(f"\n{job.title} plays again: {outcome.problems}")
        outcome = again(job)
    assert outcome.problems == []


def again(job: Job) -> Outcome:
    with Tracer(*TRACE) as tracer, Runner(tracer, [job]) as playing:
        outcome = playing.outcome(job)
        assert playing.finish() == []
        return outcome
