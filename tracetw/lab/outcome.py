# SPDX-License-Identifier: Apache-2.0
"""What is to be played, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tracetw.lab.scenario import Scenario
from tracetw.lab.topology import Step
from tracetw.lab.tracer import Line
from tracetw.lab.wire import Segment

__all__ = ["ENDS", "Job", "Outcome"]

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


@dataclass(slots=True)
class Outcome:
    """What became of a job.

    ``problems`` is empty when it passed; ``skipped`` says why it was not played. The other fields
    are by host (``a``, ``b``); times are of the wall clock.
    """

    job: Job
    problems: list[str] = field(default_factory=list)
    skipped: str | None = None
    seconds: float = 0.0
    namespaces: dict[str, str] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    lines: dict[str, list[Line]] = field(default_factory=dict)
    events: dict[str, list[Line]] = field(default_factory=dict)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    segments: Sequence[Segment] = ()
    pcap: Path | None = None
    kept: bool = False

    @property
    def passed(self) -> bool:
        """Played, and as expected."""
        return not self.problems and self.skipped is None
