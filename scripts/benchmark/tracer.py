# SPDX-License-Identifier: Apache-2.0
"""One run of a tracer: start, readiness, what it costs while it runs, its end."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from scripts.benchmark.bpf import attached
from scripts.benchmark.errors import NotStarted
from scripts.benchmark.process import Memory, cpu_seconds, memory, tree
from scripts.benchmark.rows import ROOT, Output, Row

__all__ = ["Tracer", "reason"]

READY_LIMIT_S = 30.0
STOP_LIMIT_S = 120.0
POLL_S = 0.02
QUIET_S = 1.0  # a peer whose output did not grow for so long has caught up
OK = (0, 130, -signal.SIGINT)
FAILURE = re.compile("^(?!raise ).*(error|failed|unable|cannot)", re.IGNORECASE)
LINE = 160


class Tracer:
    """Runs while in its context; attached from then on.

    ``ready_s`` is the time from its start until it was attached. Raises NotStarted with the reason.
    """

    def __init__(self, row: Row, folder: Path) -> None:
        self.row = row
        self.output = Output(folder / f"{row.name}.out", folder / f"{row.name}.err")
        ready, told = os.pipe()
        started = time.monotonic()
        try:
            with self.output.stdout.open("wb") as out, self.output.stderr.open("wb") as errors:
                self._process = subprocess.Popen(
                    row.argv(told),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=errors,
                    pass_fds=(told,),
                    cwd=ROOT,
                )
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(told)
        try:
            with os.fdopen(ready, "rb", buffering=0) as reader:
                self._await_ready(reader.fileno(), started + READY_LIMIT_S)
        except BaseException:
            self._kill()
            raise
        self.ready_s = time.monotonic() - started
        self._cpu_before = self.cpu_s()

    def _await_ready(self, ready: int, limit: float) -> None:
        """By its own word where it has one, else once a program of it is attached."""
        while time.monotonic() < limit:
            if self._process.poll() is not None:
                raise NotStarted(reason(self.output, peer=self.row.peer))
            if self.row.ready_option is None:
                if attached(self.pids()):
                    return
                time.sleep(POLL_S)
            elif select.select([ready], [], [], POLL_S)[0]:
                if os.read(ready, 1):
                    return
                self._process.wait(STOP_LIMIT_S)
                raise NotStarted(reason(self.output, peer=self.row.peer))
        raise NotStarted(f"not attached within {READY_LIMIT_S:.0f} s")

    def pids(self) -> list[int]:
        """Its processes now."""
        return tree(self._process.pid)

    def programs(self) -> frozenset[int]:
        """Ids of its BPF programs."""
        return attached(self.pids())

    def cpu_s(self) -> float:
        """CPU seconds of its processes so far."""
        return cpu_seconds(self.pids())

    def memory(self) -> Memory:
        """Its memory now."""
        return memory(self.pids())

    def stop(self) -> float:
        """End it as Ctrl-C would; CPU seconds since it was ready. Raises NotStarted if it failed.

        A peer is given the time to write what it still holds: its loss is to be of its own making.
        """
        if self.row.peer:
            self._drain()
        self._process.send_signal(signal.SIGINT)
        limit = time.monotonic() + STOP_LIMIT_S
        # It stays readable in /proc, as a zombie, until it is waited for.
        while os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > limit:
                self._kill()
                raise NotStarted(f"did not end within {STOP_LIMIT_S:.0f} s of SIGINT")
            time.sleep(POLL_S)
        spent = cpu_seconds([self._process.pid]) - self._cpu_before
        if self._process.wait() not in OK:
            raise NotStarted(
                f"exit {self._process.returncode}: {reason(self.output, peer=self.row.peer)}"
            )
        return spent

    def _drain(self) -> None:
        size, grown = -1, time.monotonic()
        limit = grown + STOP_LIMIT_S
        while time.monotonic() < min(grown + QUIET_S, limit):
            now = self.output.stdout.stat().st_size
            if now != size:
                size, grown = now, time.monotonic()
            time.sleep(POLL_S)

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Tracer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._kill()
        for path in (self.output.stdout, self.output.stderr):
            with suppress(FileNotFoundError):
                path.unlink()


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
