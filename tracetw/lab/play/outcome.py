# SPDX-License-Identifier: Apache-2.0
"""What is to be played, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.topology import Step
from tracetw.lab.net.wire import Packet
from tracetw.lab.play.tracer import Line

ENDS = ("a", "b")


@dataclass(frozen=True, slots=True)
class Job:
    """A scenario to be played with one IP version."""

    scenario: Scenario
    family: int
    round: int = 0

    @property
    def title(self) -> str:
        """Name with the IP version, and the round where there are several."""
        number = f"#{self.round}" if self.round else ""
        return f"{self.scenario.name}-v{self.family}{number}"


class ProblemKind(str, Enum):
    """What a problem is about: the first three are the mechanism's, the others the tracer's."""

    PLAY = "play"
    WIRE = "wire"
    COUNTERS = "counters"
    LINES = "lines"
    EVENTS = "events"
    SUMS = "sums"
    LEFT = "left"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was not as expected.

    ``play``: what was to happen did not come about. ``wire``, ``counters``: it did, but not as the
    capture or the kernel should show it. ``lines``, ``events``: the tracer reported otherwise.
    ``left``: ``tracetw timewait`` lists other sockets than expected.
    ``sums``: its verdicts do not add up to the kernel's counters. ``error``: a mistake in the lab.
    """

    kind: ProblemKind
    text: str


@dataclass(slots=True)
class Outcome:
    """What became of a job.

    ``problems`` is empty when it passed; ``skipped`` says why it was not played. The other fields
    are by host (``a``, ``b``); times are of the wall clock.
    """

    job: Job
    problems: list[Problem] = field(default_factory=list)
    skipped: str | None = None
    seconds: float = 0.0
    namespaces: dict[str, str] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    lines: dict[str, list[Line]] = field(default_factory=dict)
    events: dict[str, list[Line]] = field(default_factory=dict)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    segments: Sequence[Packet] = ()
    pcap: Path | None = None
    kept: bool = False

    @property
    def passed(self) -> bool:
        """Played, and as expected."""
        return not self.problems and self.skipped is None

    @property
    def spoiled(self) -> bool:
        """Whether the machine may have spoiled it, so that it proves nothing against the tracer.

        The play stopped half-way, so that no line was due; or all that is wrong is how the mechanism
        showed, and what was reported of it is right. A busy machine can do either.
        """
        kinds = {problem.kind for problem in self.problems}
        if ProblemKind.ERROR in kinds:
            return False
        return ProblemKind.PLAY in kinds or (
            bool(kinds) and kinds <= {ProblemKind.WIRE, ProblemKind.COUNTERS}
        )

    def add(self, kind: ProblemKind, texts: Iterable[str]) -> None:
        """Problems of one kind."""
        self.problems += [Problem(kind, text) for text in texts]
