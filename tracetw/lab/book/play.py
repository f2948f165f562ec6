# SPDX-License-Identifier: Apache-2.0
"""``tracetw lab book``: plays experiments, and says what is to be seen as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracetw.errors import BadInput
from tracetw.lab.book.contents import BOOK
from tracetw.lab.book.experiment import Experiment
from tracetw.lab.book.show import answer, beginning, run_text
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.expect.kernel import shown
from tracetw.lab.net.reaper import guarded
from tracetw.lab.play.interrupt import stoppable
from tracetw.lab.play.outcome import Job
from tracetw.lab.play.runner import TRACE, Runner
from tracetw.lab.play.tracer import Tracer
from tracetw.messages import show
from tracetw.text import visible_lines

__all__ = ["BookOptions", "chosen", "run"]

# The reader compares times between packets: runs must not disturb each other much.
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class BookOptions:
    """What the command line asks for: numbers of experiments; ``pcap`` exists."""

    numbers: Sequence[int]
    family: int
    pcap: Path | None


def chosen(numbers: Sequence[int]) -> tuple[int, ...]:
    """These numbers, each once. Raises BadInput for one that no experiment has."""
    for number in numbers:
        if not 1 <= number <= len(BOOK):
            raise BadInput(
                f"there is no experiment {number}",
                f"the book has 1 to {len(BOOK)}: tracetw lab book lists them",
            )
    return tuple(dict.fromkeys(numbers))


def run(options: BookOptions) -> int:
    """Play experiments, one after the other; 1 if a run was not as the book says."""
    failed = 0
    with stoppable() as check, guarded():
        for number in options.numbers:
            experiment = BOOK[number - 1]
            _say(beginning(number, experiment))
            jobs = [Job(BY_NAME[name], options.family) for name in experiment.scenarios()]
            show(f"tracetw lab: playing, about {_seconds(jobs):.0f} s")
            with (
                Tracer(*TRACE) as tracer,
                Runner(tracer, jobs, at_once=AT_ONCE, pcap=options.pcap, check=check) as runner,
            ):
                failed += _runs(experiment, jobs, runner)
                late = runner.finish()
                for problem in late:
                    show(f"tracetw lab: FAIL {problem}")
                failed += len(late)
            _say(answer(experiment))
    return 1 if failed else 0


def _runs(experiment: Experiment, jobs: Sequence[Job], runner: Runner) -> int:
    """Show each run when it is there; how many were not as the book says."""
    failed = 0
    runner.outcomes()  # which a signal can end
    for number, (each, job) in enumerate(zip(experiment.runs, jobs, strict=True), 1):
        outcome = runner.outcome(job)
        _say(run_text(number, each, outcome, shown()))
        failed += bool(
            outcome.problems or (outcome.skipped is None and each.wrong(outcome, shown()))
        )
    return failed


def _seconds(jobs: Sequence[Job]) -> float:
    """About how long: the longest, or all in turns."""
    seconds = [job.scenario.seconds for job in jobs]
    return max(*seconds, sum(seconds) / AT_ONCE, 1.0)


def _say(text: str) -> None:
    print(visible_lines(text), flush=True)  # noqa: T201
