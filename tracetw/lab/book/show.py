# SPDX-License-Identifier: Apache-2.0
"""The lab book in a terminal: what the page says, with the numbers of the run that was just played."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence

from tracetw.lab.book.experiment import Experiment, Run
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.expect.match import EVERYTHING
from tracetw.lab.play.ladder import ladder_of
from tracetw.lab.play.outcome import ENDS, Outcome
from tracetw.lab.play.render import essence
from tracetw.lab.play.tracer import Line
from tracetw.text import hanging

__all__ = ["answer", "beginning", "contents", "line_shown", "run_text", "said"]

_WIDTH = 80
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_MARK = re.compile(r"[`*]")


def contents(book: Sequence[Experiment]) -> str:
    """The list of experiments: number, question, runs and about how long they take together."""
    lines = []
    for number, each in enumerate(book, 1):
        seconds = sum(BY_NAME[name].seconds for name in each.scenarios())
        lines.append(_filled(each.question, f"{number:>2}  "))
        lines.append(f"      {len(each.runs)} runs, about {max(seconds, 1):.0f} s")
    return "\n".join(lines)


def beginning(number: int, experiment: Experiment) -> str:
    """The text before the runs."""
    title = f"Experiment {number}: {experiment.question}"
    lines = [title, "=" * len(title), ""]
    lines += _paragraphs(experiment.begin)
    lines += [_filled(f"Guess first: {experiment.guess}"), "", "Watch"]
    lines += [_filled(item, "  - ") for item in experiment.watch]
    return "\n".join([*lines, ""])


def run_text(number: int, run: Run, outcome: Outcome, shows: Container[str] = EVERYTHING) -> str:
    """One run: what was done, the packets, what tracetw printed, and what is to be seen of it."""
    title = f"Run {number}: {plain(run.title)}"
    lines = [title, "-" * len(title), _filled(f"{run.does} Scenario {run.scenario}."), ""]
    if outcome.skipped is not None:
        return "\n".join([*lines, _filled(f"Not played here: {outcome.skipped}"), ""])
    lines += [*ladder_of(outcome, line_shown(run, outcome)), ""]
    lines += [_filled(text, "  ") for text in said(outcome)]
    lines.append("")
    for finding in run.findings:
        wrong = finding.wrong(outcome, shows)
        lines += [_filled(text, "  NOT SO: ") for text in wrong]
        lines += [] if wrong else [_filled(finding.said(outcome), "  - ")]
    lines += [_filled(problem.text, "  WRONG: ") for problem in outcome.problems]
    return "\n".join([*lines, ""])


def answer(experiment: Experiment) -> str:
    """The text after the runs."""
    lines = ["Why", "---", *_paragraphs(experiment.answer)]
    lines += ["Between machines (docs/vagrant.md)"]
    lines += [f"  tracetw lab run {name} --on vagrant" for name in experiment.machines]
    lines += ["", "Where it is written"]
    lines += [_filled(f"{source.name}: {source.says}", "  - ") for source in experiment.sources]
    return "\n".join([*lines, ""])


def line_shown(run: Run, outcome: Outcome) -> Line | None:
    """The line whose connection is drawn; None for all packets."""
    if run.shown is None:
        return None
    letter, number = run.shown
    ordered = sorted(outcome.lines.get(letter, ()), key=lambda line: str(line["time"]))
    return ordered[number] if number < len(ordered) else None


def said(outcome: Outcome) -> Iterator[str]:
    """What tracetw says of each end, equal sentences once."""
    for letter in ENDS:
        texts = [f"{essence(line)}. {line['why']}" for line in outcome.lines.get(letter, ())]
        for text, times in Counter(texts).items():
            often = "" if times == 1 else f"{times} times: "
            yield f"{letter.upper()}: {often}{text}"
        if not texts:
            yield f"{letter.upper()}: no line"


def plain(text: str) -> str:
    """Without the marks that a page turns into code and links."""
    return _MARK.sub("", _LINK.sub(r"\1", text))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.strip().split("\n\n"):
        yield _filled(" ".join(paragraph.split()))
        yield ""


def _filled(text: str, lead: str = "") -> str:
    return hanging(lead, plain(text), _WIDTH)
