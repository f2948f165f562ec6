# SPDX-License-Identifier: Apache-2.0
"""``tracetw lab run``: choose scenarios, play them so often, print the results."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracetw.errors import BadInput, CannotTrace
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.named import named
from tracetw.lab.net.reaper import guarded
from tracetw.lab.play.interrupt import stoppable
from tracetw.lab.play.outcome import Job, Outcome
from tracetw.lab.play.render import outcome_json, outcome_text, verdict_of
from tracetw.lab.play.runner import TRACE, Runner
from tracetw.lab.play.tracer import Tracer
from tracetw.messages import show
from tracetw.text import visible_lines

_PROGRAMS = {"ip": "iproute2", "ss": "iproute2", "nft": "nftables"}


@dataclass(frozen=True, slots=True)
class LabOptions:
    """What the command line asks for; ``pcap`` exists."""

    scenarios: Sequence[Scenario]
    families: frozenset[int]
    repeat: int
    at_once: int
    pcap: Path | None
    keep: bool
    output: str


def chosen(names: Sequence[str], *, everything: bool) -> tuple[Scenario, ...]:
    """The scenarios of these names, or all; BadInput where there is none of a name."""
    if others := {*names} - BY_NAME.keys():
        from tracetw.lab.vagrant.catalogue import BY_NAME as MACHINES  # noqa: PLC0415 (only then)

        for name in sorted(others & MACHINES.keys()):
            raise BadInput(f"{name} takes machines", "add --on vagrant (docs/vagrant.md)")
    return named("scenario", BY_NAME, names, everything=everything)


def run(options: LabOptions) -> int:
    """Play everything; 0 if all passed, 1 if one failed."""
    failed = played = skipped = 0
    with stoppable() as check, guarded():
        for number in range(options.repeat):
            jobs = [
                Job(scenario, family, number + 1 if options.repeat > 1 else 0)
                for scenario in options.scenarios
                for family in scenario.families
                if family in options.families
            ]
            if not jobs:
                raise BadInput("nothing to play", "none of these has that IP version")
            outcomes, late = _round(jobs, options, check)
            played += len(outcomes)
            failed += sum(bool(outcome.problems) for outcome in outcomes)
            skipped += sum(outcome.skipped is not None for outcome in outcomes)
            for problem in late:
                show(f"tracetw lab: FAIL {problem}")
            failed += bool(late)
    show(f"tracetw lab: {played} played, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def check_means() -> None:
    """Raises CannotTrace when something is missing that every scenario needs."""
    if os.geteuid() != 0:
        raise CannotTrace("labs need root, for namespaces and for BPF", "run it with sudo")
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            raise CannotTrace(f"labs need {program}, which is not installed", f"install {package}")


def _round(
    jobs: Sequence[Job], options: LabOptions, check: Callable[[], None]
) -> tuple[list[Outcome], list[str]]:
    """Each job once, under one tracer."""
    lock = threading.Lock()
    done: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        with lock:
            done.append(outcome)
            show(
                f"tracetw lab: [{len(done)}/{len(jobs)}] {verdict_of(outcome)} {outcome.job.title}"
            )
            written = outcome_json if options.output == "json" else outcome_text
            print(visible_lines(written(outcome)), flush=True)  # noqa: T201

    with (
        Tracer(*TRACE) as tracer,
        Runner(
            tracer,
            jobs,
            at_once=options.at_once,
            pcap=options.pcap,
            keep=options.keep,
            done=report,
            check=check,
        ) as runner,
    ):
        outcomes = runner.outcomes()
        return outcomes, runner.finish()
