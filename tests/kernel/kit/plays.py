# SPDX-License-Identifier: Apache-2.0
"""Scenarios that play at once under one tracer, and play again, alone, what others than the tracer spoiled.

A machine busy with the others spoils the timing of a fault. A kernel that keeps events from every tracing program
(kit/untold.py) spoils what is reported: of the connection itself, and of all others, which its loss weakens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.kernel.kit.untold import Event, Watch, watch
from tracetw.lab.play.outcome import ENDS, Job, Outcome
from tracetw.lab.play.runner import AT_ONCE, TRACE, Runner
from tracetw.lab.play.tracer import Tracer

__all__ = ["Plays", "playing"]

AGAIN = 3
"""How often a scenario may play again."""
SLACK_NS = 10_000_000
"""Between the clocks of the capture and of the trace buffer."""


@dataclass(frozen=True, slots=True)
class Plays:
    """What plays, and what the kernel keeps from programs meanwhile."""

    runner: Runner
    untold: Watch

    def outcome(
        self, job: Job, late: Callable[[Outcome], object] = lambda _: False
    ) -> tuple[Outcome, list[str]]:
        """What became of a job in the end, and why it played again, play by play.

        ``late`` says of one that passed that it was too slow all the same.
        """
        outcome, reasons = self.runner.outcome(job), list[str]()
        while len(reasons) < AGAIN and outcome.skipped is None:
            kept = outcome.problems and _about(self.untold.events(), outcome)
            if not (outcome.spoiled or kept or (outcome.passed and late(outcome))):
                break
            reasons.append(f"{job.title} plays again: {outcome.problems} {kept}")
            outcome = self._alone(job)
        return outcome, reasons

    def _alone(self, job: Job) -> Outcome:
        self.untold.follow()
        with Tracer(*TRACE) as tracer, Runner(tracer, [job]) as runner:
            outcome, found = runner.outcome(job), runner.finish()
        assert found == [] or _about(self.untold.events(), outcome)
        return outcome


@contextmanager
def playing(jobs: Iterable[Job], at_once: int = AT_ONCE) -> Iterator[Plays]:
    """Jobs that play. At the end nothing is unexplained, late or lost but what was kept from the tracer."""
    with (
        watch() as untold,
        Tracer(*TRACE) as tracer,
        Runner(tracer, jobs, at_once=at_once) as runner,
    ):
        yield Plays(runner, untold)
        found, events = runner.finish(), untold.events()
        kept = {outcome.job.title for outcome in runner.outcomes() if _own(events, outcome)}
        found = [problem for problem in found if problem.split(":")[0] not in kept]
        assert [problem for problem in found if not _fewer(problem)] == []
        assert found == [] or _within(events, tracer)


def _own(events: Sequence[Event], outcome: Outcome) -> list[Event]:
    """Events of its connections since its first packet."""
    ports = {frozenset(segment.ports) for segment in outcome.segments}
    began = min((segment.at_ns for segment in outcome.segments), default=0) - SLACK_NS
    return [event for event in events if event.ports in ports and event.at_ns > began]


def _about(events: Sequence[Event], outcome: Outcome) -> list[Event]:
    """Its own, or all if its lines say that they are weakened by what others lost."""
    lines = [line for end in ENDS for line in outcome.lines.get(end, ())]
    weak = any(line["confidence"] == "weakened" for line in lines)
    return [*events] if weak else _own(events, outcome)


def _fewer(problem: str) -> bool:
    """Whether it is of the kind that an event untold makes of the whole."""
    return "records were lost" in problem or "tracetw explains" in problem


def _within(events: Sequence[Event], tracer: Tracer) -> bool:
    """Whether what a trace lacks is no more than what may have been kept from it."""
    (summary,) = tracer.select(kind="summary")
    differences = [
        abs(entry["difference"]) for entry in summary["reconciliation"] if not entry["reason"]
    ]
    ends = [event for event in events if event.name == "tcp_destroy_sock"]
    sockets = 2 * len({event.ports for event in events})
    return summary["lost"] <= len(ends) and max(differences, default=0) <= sockets
