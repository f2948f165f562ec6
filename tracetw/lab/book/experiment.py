# SPDX-License-Identifier: Apache-2.0
"""An experiment: a question, the runs that answer it, and what is measured of each run.

A number in the text of a run is never written down: it is measured of the run that the reader sees. So the
page, the terminal and the test say the same sentence, each with the numbers of its own run.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from tracetw.lab.expect.match import EVERYTHING, Expected, differences, resolved
from tracetw.lab.play.outcome import Outcome

_S_MS = 1000
_FEW_MS = 10
_TENTH_MS = 0.1


@dataclass(frozen=True, slots=True)
class Measure:
    """What is taken from an outcome, and its unit: ``ms``, or none for counts and words."""

    of: Callable[[Outcome], Any]
    unit: str = ""

    def words(self, outcome: Outcome) -> str:
        """The value as a sentence has it."""
        value = self.of(outcome)
        if self.unit != "ms":
            return str(value)
        if value >= _S_MS:
            return f"{value / _S_MS:.1f} s"
        if value < _TENTH_MS:
            return "less than 0.1 ms"
        return f"{value:.1f} ms" if value < _FEW_MS else f"{value:.0f} ms"


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence about a run, and what must hold for it to be true.

    Attributes:
        text: the sentence; ``{}`` stands for what was measured.
        measure: what it rests on.
        wanted: what that must be, as in the expectations of a scenario, also by what a kernel shows.
    """

    text: str
    measure: Measure
    wanted: Expected

    def said(self, outcome: Outcome) -> str:
        """The sentence with the number of this run."""
        return self.text.format(self.measure.words(outcome))

    def wrong(self, outcome: Outcome, shows: Container[str] = EVERYTHING) -> list[str]:
        """Why the sentence is not true of this run, on a kernel that shows this; nothing if it is.

        What cannot be measured is not true.
        """
        try:
            value = self.measure.of(outcome)
        except (LookupError, ValueError) as error:
            return [f"{self.text}: cannot be measured: {error}"]
        return differences(resolved(self.wanted, shows), value, self.text)


@dataclass(frozen=True, slots=True)
class Run:
    """One scenario of the catalogue, played to be looked at.

    Attributes:
        scenario: its name.
        title: what is different from the other runs.
        does: what is done, in a sentence or two.
        findings: what is to be seen.
        shown: the end and the number of the line whose connection the page draws; None: all packets.
    """

    scenario: str
    title: str
    does: str
    findings: tuple[Statement, ...]
    shown: tuple[str, int] | None = None

    def wrong(self, outcome: Outcome, shows: Container[str] = EVERYTHING) -> list[str]:
        """Sentences of this run that are not true of an outcome, on a kernel that shows this."""
        return [text for finding in self.findings for text in finding.wrong(outcome, shows)]


@dataclass(frozen=True, slots=True)
class Citation:
    """Where something is written: a function of the kernel or a section of an RFC, and what it says."""

    name: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A question and its answer.

    Attributes:
        name: for links, in words with hyphens.
        question: the title.
        begin: what one has to know before; paragraphs with an empty line in between.
        guess: what the reader should decide before anything is played.
        watch: where to look.
        runs: what is played, in this order.
        machines: names of scenarios to play between machines of Vagrant: such as only machines can show, and others.
        answer: the explanation, in such paragraphs.
        sources: of the explanation.
    """

    name: str
    question: str
    begin: str
    guess: str
    watch: tuple[str, ...]
    runs: tuple[Run, ...]
    machines: tuple[str, ...]
    answer: str
    sources: tuple[Citation, ...]

    def scenarios(self) -> tuple[str, ...]:
        """Names of what is played."""
        return tuple(run.scenario for run in self.runs)
