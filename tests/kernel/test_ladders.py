# SPDX-License-Identifier: Apache-2.0
"""What docs/verdicts/ shows happens on this kernel as well: the same packets, the same lines."""

from __future__ import annotations

from scripts.pages.ladder_file import FAMILY, load, recorded, shape
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.play.outcome import Job
from tracetw.lab.play.runner import TRACE, Runner
from tracetw.lab.play.tracer import Tracer

# Without timers, so that the number of packets does not depend on how busy the machine is.
NAMES = ("linger-0", "close-with-unread-data", "late-data-closed-socket", "connect-refused")


def test_ladders_come_out_again() -> None:
    jobs = [Job(BY_NAME[name], FAMILY) for name in NAMES]
    with Tracer(*TRACE) as tracer, Runner(tracer, jobs) as runner:
        outcomes = [runner.outcome(job) for job in jobs]
        assert runner.finish() == []
    for name, outcome in zip(NAMES, outcomes, strict=True):
        assert outcome.problems == []
        assert shape(outcome) == shape(load(name))
        assert recorded(outcome).keys() == recorded(load(name)).keys()
