# SPDX-License-Identifier: Apache-2.0
"""The catalogue of ``tracetw lab``, every scenario with every IP version, under one tracer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from tests.kernel.kit.plays import Plays, playing
from tracetw.lab.catalogue import SCENARIOS
from tracetw.lab.play.outcome import Job

JOBS = [Job(scenario, family) for scenario in SCENARIOS for family in scenario.families]

# The first test waits for the scenario's turn, and all play at once.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest) -> Iterator[Plays]:
    """Plays what was selected."""
    selected = [
        cast("Job", item.callspec.params["job"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    with playing(selected) as made:
        yield made


@pytest.mark.plays_again
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.title)
def test_scenario(plays: Plays, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    outcome, reasons = plays.outcome(job)
    with capsys.disabled():
        for reason in reasons:
            print(f"\n{reason}")
    if outcome.skipped is not None:
        pytest.skip(outcome.skipped)
    assert outcome.problems == []
