# SPDX-License-Identifier: Apache-2.0
"""Storms of connections: every end is reported exactly once, none is lost, the counters reconcile.

The storm has a network namespace of its own; the tracers watch the whole host, so that what they
explain can be held against what the kernel counted.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from types import TracebackType

import pytest

from scripts.benchmark.closes import Closes, read_closes
from scripts.benchmark.namespace import Namespace
from scripts.benchmark.storm import Storm
from tests.kernel.kit.untold import AMONG_THE_LAST, watch
from tracetw.lab.play.tracer import environment
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


class FileTracer:
    """A tracer that writes to a file, as fast as it can; runs while in its context.

    The tracers of the other tests are read through a pipe by this process, which would hold back
    the storm. Starting and being ready are apart, so that many can start at once.
    """

    def __init__(self, output: Path, *arguments: str) -> None:
        self.output = output
        self._errors = output.with_suffix(".err")
        self._ready, told = os.pipe()
        try:
            with output.open("wb") as out, self._errors.open("wb") as errors:
                self.process = subprocess.Popen(
                    [*COMMAND, "--ready-fd", str(told), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=errors,
                    pass_fds=(told,),
                    env=environment(),
                )
        finally:
            os.close(told)

    def wait_ready(self) -> None:
        readable = select.select([self._ready], [], [], patient(READY_DEADLINE_S))[0]
        assert readable, "not ready in time"
        assert os.read(self._ready, 1), self._errors.read_text()

    def end(self) -> str:
        """End it as Ctrl-C would; what it said."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(patient(STOP_DEADLINE_S))
        said = self._errors.read_text()
        assert status == 0, f"exit {status}: {said}"
        return said

    def stop(self, namespace: Namespace, lost: int = 0) -> Closes:
        """End it as Ctrl-C would; what it reported of the namespace. No more than ``lost`` may be."""
        self.end()
        found = read_closes(self.output, namespace.inode)
        assert found.summary is not None, "no summary at the end"
        assert found.summary["lost"] <= lost
        assert found.losses <= lost
        assert found.repeated == []
        return found

    def __enter__(self) -> FileTracer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ready)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace() as made:
        yield made


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
def going_on(storm: Storm, namespace: Namespace) -> Iterator[ExitStack]:
    """One storm after the other, begun, until what is yielded is closed: it waits for the last."""
    over = Event()

    def blow() -> None:
        while not over.is_set():
            storm.run(namespace, PART, "rst")

    with ExitStack() as stack:
        storms = stack.enter_context(ThreadPoolExecutor(1)).submit(blow)
        stack.callback(storms.result)
        stack.callback(over.set)
        eventually(lambda: namespace.counter("EstabResets") > 0)
        yield stack


def test_every_end_of_a_burst_of_resets_once(
    storm: Storm, namespace: Namespace, tmp_path: Path
) -> None:
    with FileTracer(tmp_path / "out") as tracer:
        tracer.wait_ready()
        storm.run(namespace, BURST, "rst")
        found = tracer.stop(namespace)
    assert_complete(found, BURST, {"abort-linger": BURST, "peer-reset": BURST})


@pytest.mark.parametrize("output", ["json", "table", "wide"])
def test_nothing_is_lost_while_the_output_is_slow(
    storm: Storm, namespace: Namespace, tmp_path: Path, output: str
) -> None:
    """With default settings: more ends than the ring holds wait in memory."""
    arguments = ("--netns", str(namespace.inode), "-o", output)
    with FileTracer(tmp_path / "out", *arguments) as tracer:
        tracer.wait_ready()
        storm.run(namespace, LARGE, "rst")
        said = tracer.end()
    assert "lost: nothing" in said
    with (tmp_path / "out").open("rb") as lines:
        assert sum(1 for _ in lines) == 2 * LARGE + 1  # the heading, or the summary


def test_every_end_of_a_burst_into_time_wait_once(
    storm: Storm, namespace: Namespace, tmp_path: Path
) -> None:
    """Or the kernel may have kept it from every program (conn_begin, bpf/table.h)."""
    with watch() as watching, FileTracer(tmp_path / "out") as tracer:
        tracer.wait_ready()
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
    storm: Storm, namespace: Namespace, tmp_path: Path
) -> None:
    with going_on(storm, namespace) as storms, FileTracer(tmp_path / "out") as tracer:
        before = namespace.counter("EstabResets")
        tracer.wait_ready()
        ready = namespace.counter("EstabResets")
        assert ready > before
        eventually(lambda: namespace.counter("EstabResets") > ready + PART, deadline_s=60)
        storms.close()
        after = namespace.counter("EstabResets")
        found = tracer.stop(namespace)
    # Each end counts one. A connection that was half-way when a counter was read may be on either side.
    assert after - ready <= found.total() <= after - before
    assert found.summary is not None
    for row in found.summary["reconciliation"]:
        if row["difference"]:  # ends that were seen while hooks were attached, each counted
            assert re.search(r"attached or detached: \d+", row["reason"] or ""), row
    assert set(found.verdicts) <= {"abort-linger", "peer-reset", "undetermined"}


def test_ten_tracers_at_once_each_report_everything(
    storm: Storm, namespace: Namespace, tmp_path: Path
) -> None:
    with ExitStack() as running:
        tracers = [
            running.enter_context(FileTracer(tmp_path / f"out{number}"))
            for number in range(TRACERS)
        ]
        for tracer in tracers:
            tracer.wait_ready()
        storm.run(namespace, SMALL, "rst")
        for tracer in tracers:
            found = tracer.stop(namespace)
            assert_complete(found, SMALL, {"abort-linger": SMALL, "peer-reset": SMALL})
