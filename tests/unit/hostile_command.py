# SPDX-License-Identifier: Apache-2.0
"""A command that reads hostile recordings, held against time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hostile_recordings import Bytes, base, dumped
from tracetw.recording.frame import FrameKind

ROOT = Path(__file__).parents[2]
MOST_MB = 512
MOST_S = 10.0
PATIENCE = 6
READERS: tuple[tuple[str, ...], ...] = (
    ("report",),
    ("report", "--json"),
    ("report", "--html", "page.html"),
    ("replay", "--events", "retransmit,timewait,drop,transition"),
    ("replay", "-o", "json"),
    ("query", "SELECT * FROM closes"),
    ("query", "-o", "csv", "SELECT count(*) FROM counters"),
)


# What rusage says of a process includes the one that it was forked from.
_COMMAND = """
import atexit, pathlib
def peak(work=pathlib.Path.cwd()):
    work.joinpath("peak").write_text(pathlib.Path("/proc/self/status").read_text())
atexit.register(peak)
from tracetw.cli import main
main()
"""


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """The folder that somebody gave us."""
    path = tmp_path / "given"
    path.mkdir()
    return path


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Done]]:
    """The command, held against time and memory; and that nothing was touched afterwards."""
    work, cache = tmp_path / "work", tmp_path / "cache"
    work.mkdir()
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "evil.parquet").write_text("mine")
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}

    def command(*words: str, given: Path) -> Done:
        name, *rest = words
        with (work / "out").open("w+b") as out, (work / "err").open("w+b") as err:
            begun = time.monotonic()
            child = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, name, str(given), *rest],
                cwd=work, env=environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            took = time.monotonic() - begun
            out.seek(0)
            err.seek(0)
            done = Done(child.returncode, out.read().decode(), err.read().decode())
        assert "Traceback" not in done.err, done.err
        assert done.code in {0, 1, 2, 3}, done
        assert "\x1b" not in done.err
        # Its own time: others may keep the CPUs busy. What waits does not come to an end.
        assert usage.ru_utime + usage.ru_stime < MOST_S, (words, usage)
        assert took < MOST_S * PATIENCE, (words, took)
        peak = next(line for line in (work / "peak").read_text().splitlines() if "VmHWM" in line)
        assert int(peak.split()[1]) < MOST_MB * 1024, (words, peak)
        return done

    yield command
    assert (victim / "evil.parquet").read_text() == "mine"
    assert [path.name for path in victim.iterdir()] == ["evil.parquet"]


def every_reader(run: Callable[..., Done], given: Path) -> list[Done]:
    return [run(*words, given=given) for words in READERS]


def with_header(**changes: Any) -> list[Bytes]:
    first, *rest = base().frames
    return [replace(first, data=dumped({**base().documents[FrameKind.HEADER], **changes})), *rest]
