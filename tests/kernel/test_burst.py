# SPDX-License-Identifier: Apache-2.0
"""Storms of connections: every end is reported exactly once, none is lost, the counters reconcile.

The storm has a network namespace of its own; the tracers watch the whole host, so that what they
explain can be held against what the kernel counted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

import pytest

from scripts.benchmark.storm import Storm
from tests.kernel.kit.closes import Closes, read_closes
from tests.kernel.kit.untold import AMONG_THE_LAST, watch
from tracetw.lab.net.host import Host
from tracetw.lab.play.child import READY, Child
from tracetw.lab.polling import eventually, patient

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

COMMAND = (sys.executable, "-m", "tracetw", "trace", "-o", "json")
# As many as are made in the same time: fewer where everything takes longer.
BURST = 200_000 // round(patient(1))
LARGE = 600_000 // round(patient(1))
PART = BURST // 4
SMALL = 5_000 // round(patient(1))
TRACERS = 10
READY_DEADLINE_S = 60.0
STOP_DEADLINE_S = 120.0


class FileTracer(Child):
    """A tracer that writes to a file, as fast as it can; runs while in its context.

    The tracers of the other tests are read through a pipe by this process, which would hold back
    the storm. Starting and being ready are apart, so that many can start at once.
    """

    def __init__(self, output: Path, *arguments: str) -> None:
        self.output = output
        with output.open("wb") as out:
            super().__init__([*COMMAND, "--ready-fd", READY, *arguments], stdout=out)

    def stop(self, namespace: Host, lost: int = 0) -> Closes:
        """End it as Ctrl-C would; what it reported of the namespace. No more than ``lost`` may be."""
        self.end(deadline_s=STOP_DEADLINE_S)
        found = read_closes(self.output, namespace.netns)
        assert found.summary is not None, "no summary at the end"
        assert found.summary["lost"] <= lost
        assert found.losses <= lost
        assert found.repeated == []
        return found


def assert_complete(found: Closes, connections: int, verdicts: dict[str, int]) -> None:
    """Both ends of every connection once, and no counter left unexplained."""
    assert found.total() == 2 * connections
    assert found.unpaired() == []
    assert found.verdicts == verdicts
    assert found.summary is not None
    unexplained = [row for row in found.summary["reconciliation"] if row["difference"]]
    assert found.summary["reconciliation"] != []
    assert unexplained == []


@contextmanager
def going_on(storm: Storm, namespace: Host) -> Iterator[ExitStack]:
    """One storm after the other, begun, until what is yielded is closed: it waits for the last."""
    over = Event()

    def blow() -> None:
        while not over.is_set():
            storm.run(namespace, PART, "rst")

    with ExitStack() as stack:
        storms = stack.enter_context(ThreadPoolExecutor(1)).submit(blow)
        stack.callback(storms.result)
        stack.callback(over.set)
        eventually(lambda: namespace.counters()["EstabResets"] > 0)
        yield stack


def test_every_end_of_a_burst_of_resets_once(storm: Storm, namespace: Host, tmp_path: Path) -> None:
    with FileTracer(tmp_path / "out") as tracer:
        tracer.await_ready()
        storm.run(namespace, BURST, "rst")
        found = tracer.stop(namespace)
    assert_complete(found, BURST, {"abort-linger": BURST, "peer-reset": BURST})


@pytest.mark.parametrize("output", ["json", "table", "wide"])
def test_nothing_is_lost_while_the_output_is_slow(
    storm: Storm, namespace: Host, tmp_path: Path, output: str
) -> None:
    """With default settings: more ends than the ring holds wait in memory."""
    arguments = ("--netns", str(namespace.netns), "-o", output)
    with FileTracer(tmp_path / "out", *arguments) as tracer:
        tracer.await_ready()
        storm.run(namespace, LARGE, "rst")
        said = tracer.end()
    assert "lost: nothing" in said
    with (tmp_path / "out").open("rb") as lines:
        assert sum(1 for _ in lines) == 2 * LARGE + 1  # the heading, or the summary


def test_every_end_of_a_burst_into_time_wait_once(
    storm: Storm, namespace: Host, tmp_path: Path
) -> None:
    """Or the kernel may have kept it from every program (conn_begin, bpf/table.h)."""
    with watch() as watching, FileTracer(tmp_path / "out") as tracer:
        tracer.await_ready()
        storm.run(namespace, BURST // 4, "timewait")
        untold = watching.count("tcp_destroy_sock")
        found = tracer.stop(namespace, untold)
    assert found.summary is not None
    missing = BURST // 2 - found.total()
    assert missing - AMONG_THE_LAST <= found.summary["lost"] <= missing <= untold
    assert len(found.unpaired()) <= missing
    assert found.verdicts == {"orderly": found.total()}
    rows = found.summary["reconciliation"]
    assert [row for row in rows if row["difference"] and row["reason"] is None] == []


def test_a_tracer_that_starts_during_a_storm_misses_nothing_from_then_on(
    storm: Storm, namespace: Host, tmp_path: Path
) -> None:
    with going_on(storm, namespace) as storms, FileTracer(tmp_path / "out") as tracer:
        before = namespace.counters()["EstabResets"]
        tracer.await_ready()
        ready = namespace.counters()["EstabResets"]
        assert ready > before
        eventually(lambda: namespace.counters()["EstabResets"] > ready + PART, deadline_s=60)
        storms.close()
        after = namespace.counters()["EstabResets"]
        found = tracer.stop(namespace)
    # Each end counts one. A connection that was half-way when a counter was read may be on either side.
    assert after - ready <= found.total() <= after - before
    assert found.summary is not None
    for row in found.summary["reconciliation"]:
        if row["difference"]:  # ends that were seen while hooks were attached, each counted
            assert re.search(r"attached or detached: \d+", row["reason"] or ""), row
    assert set(found.verdicts) <= {"abort-linger", "peer-reset", "undetermined"}


def test_ten_tracers_at_once_each_report_everything(
    storm: Storm, namespace: Host, tmp_path: Path
) -> None:
    with ExitStack() as running:
        tracers = [
            running.enter_context(FileTracer(tmp_path / f"out{number}"))
            for number in range(TRACERS)
        ]
        for tracer in tracers:
            tracer.await_ready()
        storm.run(namespace, SMALL, "rst")
        for tracer in tracers:
            found = tracer.stop(namespace)
            assert_complete(found, SMALL, {"abort-linger": SMALL, "peer-reset": SMALL})
