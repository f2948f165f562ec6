# SPDX-License-Identifier: Apache-2.0
"""Play the scenarios that the pages show, on the kernel that runs here, and record them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scripts.pages.ladder_file import FAMILY, FOLDER, as_text, recorded
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.net.reaper import guarded
from tracetw.lab.play.outcome import Job
from tracetw.lab.play.runner import TRACE, Runner
from tracetw.lab.play.tracer import Tracer

__all__ = ["play"]

# The pages show times between packets: scenarios must not disturb each other.
AT_ONCE = 2


def play(names: Sequence[str], program: str) -> int:
    """Play scenarios and record those that pass; exit status 1 if one does not. ``program`` complains."""
    jobs = [Job(BY_NAME[name], FAMILY) for name in names]
    with guarded(), Tracer(*TRACE) as tracer, Runner(tracer, jobs, at_once=AT_ONCE) as runner:
        outcomes = [runner.outcome(job) for job in jobs]
        wrong = runner.finish()
    FOLDER.mkdir(exist_ok=True)
    for outcome in outcomes:
        wrong += [f"{outcome.job.title}: {problem}" for problem in outcome.problems]
        if outcome.skipped is not None:
            wrong.append(f"{outcome.job.title}: skipped: {outcome.skipped}")
        elif outcome.passed:
            target = FOLDER / f"{outcome.job.scenario.name}.json"
            target.write_text(as_text(recorded(outcome)), encoding="utf-8")
    for problem in wrong:
        print(f"{program}: {problem}", file=sys.stderr)
    return 1 if wrong else 0
