# SPDX-License-Identifier: Apache-2.0
"""How a guest may end: hung, panicked, interrupted. Nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.guests.rows import rows
from tests.vm.guest import VM, vm

pytestmark = pytest.mark.timeout(1800)

# The first whose kernel is fetched for continuous integration anyway.
ROW = next(row.name for row in rows() if row.virtual and row.ci)
_DEADLINE_S = 60


def emulators(results: Path) -> set[int]:
    """Process ids of the guests that were given this folder: others may run theirs."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = entry.joinpath("cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"qemu-system" in words[0] and str(results).encode() in b" ".join(words):
                found.add(int(entry.name))
    return found


def test_a_hang_is_ended(tmp_path: Path) -> None:
    # It hangs as well where it boots still.
    options = ["--timeout", "3", "--results", str(tmp_path)]
    done = vm("run", *options, ROW, "--", "sleep", "100000")
    assert (done.returncode, done.stdout) == (124, ""), done.stderr
    assert f"vm: {ROW}: the time was over" in done.stderr
    assert emulators(tmp_path) == set()


def test_a_panic_is_reported_with_the_console() -> None:
    crash = "echo begun; sync; echo c >/proc/sysrq-trigger"
    done = vm("run", "--timeout", "300", ROW, "--", "sh", "-c", crash)
    assert (done.returncode, done.stdout) == (125, "begun\n"), done.stderr
    assert f"vm: {ROW}: the kernel panicked" in done.stderr
    assert f"vm: {ROW} console: " in done.stderr
    assert "sysrq" in done.stderr


def test_a_row_of_a_matrix_that_fails_is_seen() -> None:
    """A daemon does not keep its guest, and what it says of itself is no result."""
    daemon = "sleep 100000 & echo === 5 passed; exit 1"
    done = vm("matrix", "--timeout", "300", ROW, "--", "sh", "-c", daemon)
    assert done.returncode == 1, done.stderr
    assert f"{ROW}: === 5 passed" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].strip("= ").startswith("1 failed in ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_command(number: signal.Signals, tmp_path: Path) -> None:
    command = [VM, "run", "--results", str(tmp_path), ROW, "--", "sleep", "100000"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        # How far its guest has come is nothing to the emulator.
        until(lambda: emulators(tmp_path))
        assert len(emulators(tmp_path)) == 1
        os.kill(process.pid, number)
        status = process.wait(timeout=60)
    assert status == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    until(lambda: not emulators(tmp_path))


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
