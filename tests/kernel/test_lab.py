# SPDX-License-Identifier: Apache-2.0
"""The catalogue of ``tracetw lab``, every scenario with every IP version, under one tracer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from tests.kernel.kit.untold import Event, Watch, watch
from tracetw.lab.catalogue import SCENARIOS
from tracetw.lab.play.outcome import ENDS, Job, Outcome
from tracetw.lab.play.runner import TRACE, Runner
from tracetw.lab.play.tracer import Tracer

JOBS = [Job(scenario, family) for scenario in SCENARIOS for family in scenario.families]

# The first test waits for the scenario's turn, and all play at once.
pytestmark = pytest.mark.timeout(600)

AGAIN = 3
"""How often a scenario may play again."""
SLACK_NS = 10_000_000
"""Between the clocks of the capture and of the trace buffer."""


@pytest.fixture(scope="module")
def untold() -> Iterator[Watch]:
    """What this kernel keeps from every tracing program while the tests play."""
    with watch() as watching:
        yield watching


@pytest.fixture(scope="module")
def runner(request: pytest.FixtureRequest, untold: Watch) -> Iterator[Runner]:
    """Plays what was selected. At the end nothing may be unexplained or reported twice."""
    selected = [
        cast("Job", item.callspec.params["job"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    with Tracer(*TRACE) as tracer, Runner(tracer, selected) as playing:
        yield playing
        found, events = playing.finish(), untold.events()
        kept = {outcome.job.title for outcome in playing.outcomes() if own(events, outcome)}
        found = [problem for problem in found if problem.split(":")[0] not in kept]
        assert [problem for problem in found if not fewer(problem)] == []
        assert found == [] or within(events, tracer)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.title)
def test_scenario(
    runner: Runner, untold: Watch, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = runner.outcome(job)
    if outcome.skipped is not None:
        pytest.skip(outcome.skipped)
    for _ in range(AGAIN):
        # Many play at once: a machine busy with others can spoil the timing of a fault. That says
        # nothing of the tracer, so it plays again, alone. A wrong report does only if something may
        # have been kept from the tracer.
        if not (outcome.spoiled or (outcome.problems and about(untold.events(), outcome))):
            break
        with capsys.disabled():
            print(f"\n{job.title} plays again: {outcome.problems} {own(untold.events(), outcome)}")
        outcome, found = again(job)
        assert found == [] or about(untold.events(), outcome)
    assert outcome.problems == []


def again(job: Job) -> tuple[Outcome, list[str]]:
    with Tracer(*TRACE) as tracer, Runner(tracer, [job]) as playing:
        return playing.outcome(job), playing.finish()


def own(events: list[Event], outcome: Outcome) -> list[Event]:
    """Events of its connections since its first packet."""
    ports = {frozenset(segment.ports) for segment in outcome.segments}
    began = min((segment.at_ns for segment in outcome.segments), default=0) - SLACK_NS
    return [event for event in events if event.ports in ports and event.at_ns > began]


def about(events: list[Event], outcome: Outcome) -> list[Event]:
    """Its own, or all if its lines say that they are weakened by what others lost."""
    lines = [line for end in ENDS for line in outcome.lines.get(end, ())]
    weak = any(line["confidence"] == "weakened" for line in lines)
    return events if weak else own(events, outcome)


def fewer(problem: str) -> bool:
    """Whether it is of the kind that an event untold makes of the whole."""
    return "records were lost" in problem or "tracetw explains" in problem


def within(events: list[Event], tracer: Tracer) -> bool:
    """Whether what a trace lacks is no more than what may have been kept from it."""
    (summary,) = tracer.select(kind="summary")
    differences = [
        abs(entry["difference"]) for entry in summary["reconciliation"] if not entry["reason"]
    ]
    ends = [event for event in events if event.name == "tcp_destroy_sock"]
    sockets = 2 * len({event.ports for event in events})
    return summary["lost"] <= len(ends) and max(differences, default=0) <= sockets
