# SPDX-License-Identifier: Apache-2.0
"""One run of a tracer: start, readiness, what it costs while it runs, its end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from scripts.benchmark.account import Output
from scripts.benchmark.bpf import attached
from scripts.benchmark.errors import NotStarted
from scripts.benchmark.rows import ROOT, BenchRow
from scripts.benchmark.usage import Memory, Thread, Usage, memory, threads, tree, usage
from tracetw.lab.play.child import READY, Child

__all__ = ["Tracer", "reason"]

READY_LIMIT_S = 30.0
STOP_LIMIT_S = 120.0
POLL_S = 0.02
QUIET_S = 0.5  # a tracer that did next to nothing for so long has caught up
LOOK_S = 0.1
RESTING = 0.05  # of one CPU: what it may use meanwhile
OK = (0, 130, -signal.SIGINT)
FAILURE = re.compile("^(?!raise ).*(error|failed|unable|cannot)", re.IGNORECASE)
LINE = 160
COLUMNS = "100"
"""Of a table: addresses are whole, by which its lines are counted, also beside the names of namespaces of others."""


class Tracer(Child):
    """Runs while in its context; attached from then on.

    ``ready_s`` is the time from its start until it was attached. With ``piped`` its output is read
    from ``stdout`` instead of going to a file. Raises NotStarted with the reason.
    """

    def __init__(self, row: BenchRow, folder: Path, *, piped: bool = False) -> None:
        self.row = row
        self.output = Output(*(folder / f"{row.name}.{end}" for end in ("out", "err", "rec")))
        words = row.argv(READY, self.output)
        with self.output.stdout.open("wb") as out:
            super().__init__(
                words,
                errors=self.output.stderr,
                stdout=subprocess.PIPE if piped else out,
                env=os.environ | {"COLUMNS": COLUMNS},
                cwd=ROOT,
            )
        try:
            self._await_attached(time.monotonic() + READY_LIMIT_S)
        except BaseException:
            self.kill()
            raise
        self.stdout = self.process.stdout

    def _await_attached(self, limit: float) -> None:
        """By its own word where it has one, else once a program of it is attached."""
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                raise NotStarted(reason(self.output, peer=self.row.peer))
            if self.row.ready_option is None:
                if attached(self.pids()):
                    self.ready_s = time.monotonic() - self.started
                    return
                time.sleep(POLL_S)
            elif (ready := self.is_ready(POLL_S)) is None:
                self.process.wait(STOP_LIMIT_S)
                raise NotStarted(reason(self.output, peer=self.row.peer))
            elif ready:
                return
        raise NotStarted(f"not attached within {READY_LIMIT_S:.0f} s")

    def pids(self) -> list[int]:
        """Its processes now."""
        return tree(self.process.pid)

    def programs(self) -> frozenset[int]:
        """Ids of its BPF programs."""
        return attached(self.pids())

    def usage(self) -> Usage:
        """CPU time of its processes so far."""
        return usage(self.pids())

    def threads(self) -> dict[int, Thread]:
        """Its threads and what they used so far."""
        return threads(self.pids())

    def memory(self) -> Memory:
        """Its memory now."""
        return memory(self.pids())

    def catch_up(self) -> None:
        """Wait until it has handled what it still holds, and written it."""
        before, since = (-1, 0.0), time.monotonic()
        limit = since + STOP_LIMIT_S
        pids = self.pids()  # once: finding them is work that would be measured
        while time.monotonic() < limit:
            now = (self._written(), sum(thread.ran for thread in threads(pids).values()))
            if now[0] != before[0] or now[1] - before[1] > RESTING * QUIET_S:
                before, since = now, time.monotonic()
            elif time.monotonic() - since >= QUIET_S:
                return
            time.sleep(LOOK_S)

    def _written(self) -> int:
        paths = [self.output.stdout, *self.output.recording.rglob("*")]
        sizes = 0
        for path in paths:
            with suppress(FileNotFoundError):
                sizes += path.stat().st_size
        return sizes

    def stop(self) -> None:
        """End it as Ctrl-C would. Raises NotStarted if it failed."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.communicate(timeout=STOP_LIMIT_S)  # a pipe must be read to its end
        except subprocess.TimeoutExpired:
            self.kill()
            raise NotStarted(f"did not end within {STOP_LIMIT_S:.0f} s of SIGINT") from None
        if (status := self.process.returncode) not in OK:
            raise NotStarted(f"exit {status}: {reason(self.output, peer=self.row.peer)}")

    def close(self) -> None:
        """Kill it if it still runs, and remove what it wrote."""
        super().close()
        if self.stdout is not None:
            self.stdout.close()
        for path in (self.output.stdout, self.output.stderr):
            with suppress(FileNotFoundError):
                path.unlink()
        shutil.rmtree(self.output.recording, ignore_errors=True)


def reason(output: Output, *, peer: bool) -> str:
    """Why a tracer ended: the first line that sounds like a failure, else the last one it wrote.

    Peers also complain on standard output, where BCC says that kernel headers are missing.
    """
    text = _beginning(output.stdout) if peer else ""
    text += output.stderr.read_text(errors="replace")
    # bpftrace complains about this limit where it may not be raised, and goes on.
    lines = [line.strip() for line in text.splitlines() if "RLIMIT_MEMLOCK" not in line]
    failures = [line for line in lines if FAILURE.search(line)]
    said = (
        failures[0] if failures else next(filter(None, reversed(lines)), "ended without a message")
    )
    return said if len(said) <= LINE else said[: LINE - 3] + "..."


def _beginning(path: Path) -> str:
    with path.open(errors="replace") as file:
        return file.read(LINE * 100)
