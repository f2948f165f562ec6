# SPDX-License-Identifier: Apache-2.0
"""Tests, or any command, under every kernel: one row after the other, and a table of how it went."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from scripts.guests.cache import say
from scripts.guests.errors import Unreachable, UserError
from scripts.guests.guest import Ending
from scripts.guests.hypervisor import RESULTS, Hypervisor, Limits
from scripts.guests.junit import Counts, left_out, read, total
from scripts.guests.output import Prefixed, explain
from scripts.guests.packages import bcc_version
from scripts.guests.rows import ROOT, Row
from scripts.guests.table import Result

_REPORT = "junit.xml"
_PYTEST = (
    str(ROOT / ".venv" / "bin" / "python"),
    "-I",
    "-u",
    "-m",
    "pytest",
    "-p",
    "no:cacheprovider",
    "--at-once",
)


def unknown(row: Row, complaint: str) -> Result:
    """Of a row that was not run, or not to its end."""
    return Result(row.name, "", "", "none", Counts(errors=1, complaint=complaint), 0)


@dataclass(slots=True)
class Matrix:
    """What every row is given.

    Args:
        hypervisor: runs the guests.
        limits: ``seconds`` None takes each row's own, stretched by nothing.
        argv: a command; None runs the row's tests.
        require: a row whose distribution cannot be reached is an error, not skipped.
        until: on the clock of :func:`time.monotonic`; rows that would begin later are errors.
    """

    hypervisor: Hypervisor
    limits: Limits
    argv: Sequence[str] | None = None
    until: float = float("inf")
    require: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)

    def run_all(self, rows: Sequence[Row], jobs: int) -> tuple[list[Result], bool]:
        """All rows, ``jobs`` at a time; the results in the order of the rows.

        Also whether it came to the end: after Ctrl-C what is known is still told, and what is not is no success.
        """
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(self.run, row) for row in rows]
            try:
                return [future.result() for future in futures], True
            except BaseException as error:
                self._stop.set()
                for future in futures:
                    future.cancel()
                if not isinstance(error, KeyboardInterrupt):
                    raise
        known = [
            None if future.cancelled() or future.exception() else future.result()
            for future in futures
        ]
        return [
            found or unknown(row, "interrupted") for row, found in zip(rows, known, strict=True)
        ], False

    def run(self, row: Row) -> Result:
        """One row. What goes wrong on the way is the row's error, and the others still run."""
        begin = time.monotonic()
        say(row.name)
        result = Result(row.name, "", "", "none", Counts(), 0)
        try:
            if begin >= self.until:
                return unknown(row, "not run: the time was over")
            result = self._described(row, result)
            with tempfile.TemporaryDirectory(prefix="tracetw-vm-") as name:
                folder = Path(name)
                counts = self._guest(row, folder) if row.virtual else self._host(row, folder)
        except Unreachable as error:
            say(f"{row.name}: {error}")
            counts = left_out(str(error))
            if self.require:
                counts = Counts(errors=1, complaint=str(error))
        except UserError as error:
            say(f"{row.name}: {error}")
            counts = Counts(errors=1, complaint=str(error))
        return replace(result, counts=counts, seconds=time.monotonic() - begin)

    def _described(self, row: Row, result: Result) -> Result:
        root = self.hypervisor.root(row)
        result = replace(result, kernel=os.uname().release, bcc=bcc_version(root.path))
        if not row.virtual:
            return result
        kernel = self.hypervisor.kernel(row)
        which = self.hypervisor.chosen_accelerator(row, kernel)
        return replace(result, kernel=kernel.release, accelerator=which)

    def _command(self, row: Row, results: str) -> list[str]:
        if self.argv is not None:
            return list(self.argv)
        return [*_PYTEST, f"--junit-xml={results}/{_REPORT}", *row.tests]

    def _guest(self, row: Row, folder: Path) -> Counts:
        remaining = self.until - time.monotonic()
        seconds = min(self.limits.seconds or float(row.timeout), remaining)
        sinks = {"out": Prefixed(row.name, sys.stdout), "err": Prefixed(row.name, sys.stderr)}
        limits = replace(self.limits, seconds=seconds)
        outcome = self.hypervisor.run(
            row, self._command(row, RESULTS), sinks, limits, results=folder, stop=self._stop
        )
        for sink in sinks.values():
            sink.close()
        explain(row.name, outcome)
        if outcome.ending is Ending.EXIT and outcome.status is not None:
            return self._counts(folder, outcome.status)
        ended = Counts(errors=1, complaint=outcome.ending.value)
        return ended if self.argv is not None else total([read(folder / _REPORT, 0), ended])

    def _host(self, row: Row, folder: Path) -> Counts:
        """The running kernel needs no guest."""
        sink = Prefixed(row.name, sys.stdout)
        command = self._command(row, str(folder))
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=pipe) as process:
            assert process.stdout is not None  # noqa: S101 - asked for above
            try:
                while data := os.read(process.stdout.fileno(), 1 << 16):
                    sink(data)
            except BaseException:
                process.terminate()
                raise
        sink.close()
        return self._counts(folder, process.returncode)

    def _counts(self, folder: Path, status: int) -> Counts:
        if self.argv is None:
            return read(folder / _REPORT, status)
        failed = int(status != 0)
        complaint = f"exit status {status}" if failed else ""
        return Counts(passed=1 - failed, failed=failed, complaint=complaint)
