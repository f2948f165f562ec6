# SPDX-License-Identifier: Apache-2.0
"""Hostile recordings through every reader: no traceback, nothing touched, bounded memory and time."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

from tests.unit.hostile_recordings import Folder, folders
from tests.unit.recording_files import compaction
from tracetw.cli import main

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

EXAMPLES = 600
MOST_MB = 512
MOST_S = 10.0
SQL = "SELECT * FROM closes"
COMMANDS = (
    ("report", "{folder}"),
    ("report", "{folder}", "--json", "--html", "{out}"),
    ("replay", "{folder}", "--events", "retransmit,timewait,drop,transition", "--utc"),
    ("replay", "{folder}", "-o", "json", "--events", "retransmit,timewait,drop,transition"),
    ("query", "{folder}", "SELECT * FROM closes", "-o", "json"),
    ("query", "{folder}", "SELECT count(*), min(value) FROM counters", "-o", "csv"),
)
_CHANGES = {
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink",
    "os.truncate", "os.utime", "shutil.rmtree", "subprocess.Popen", "os.system", "os.exec", "os.fork",
    "socket.connect", "socket.bind",
}  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Watch:
    """Says which files Python changed that are not below the folders allowed."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = (flags or 0) & _WRITES or any(letter in (mode or "") for letter in "wax+")
            if isinstance(path, int) or not writes:
                return
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        # Of what happens relative to a descriptor only the last part of the name is known.
        place = os.fspath(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
        place = os.fsdecode(place)
        if place != os.devnull and Path(place).is_absolute() and not place.startswith(self.allowed):
            self.seen.append(f"{event} {place}")


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    # What Python compiles when a command first imports it is not what is looked for.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    yield Watch()
    sys.dont_write_bytecode = before


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    root = tmp_path_factory.mktemp("hostile")
    found = {name: root / name for name in ("given", "cache", "out", "victim")}
    for path in found.values():
        path.mkdir()
    (found["victim"] / "evil.parquet").write_text("mine")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(found["cache"])
    yield found
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


def peak_mb(*, reset: bool = False) -> int:
    """Most memory held since the last reset (proc_pid_clear_refs(5), proc_pid_status(5))."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    name = "VmRSS:" if reset else "VmHWM:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith(name))


def run_all(folder: Path, places: dict[str, Path], watch: Watch) -> None:
    """Every reader over what lies in a folder."""
    out = places["out"] / "page.html"
    names = sorted(path.name for path in folder.iterdir())
    for words in COMMANDS:
        arguments = [word.format(folder=folder, out=out) for word in words]
        before = peak_mb(reset=True)
        begun = time.process_time()  # others may keep the CPUs busy
        # The page is written beside its place, under a name of its own, and moved there.
        watch.allowed = (str(places["cache"]), str(out), str(out.with_name(f".{out.name}-")))
        try:
            result = CliRunner().invoke(main, arguments)
        finally:
            watch.allowed = None
        took = time.process_time() - begun
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in {0, 1, 2, 3}, result.output
        assert "Traceback" not in result.output
        assert took < MOST_S, (arguments, took)
        assert peak_mb() - before < MOST_MB, (arguments, peak_mb(), before)
    for path in folder.glob("*.tws"):
        assert compaction(path) in {0, 1, 2, 3}
    assert watch.seen == []
    assert [path.name for path in places["victim"].iterdir()] == ["evil.parquet"]
    assert (places["victim"] / "evil.parquet").read_text() == "mine"
    assert set(names) >= {"a.tws"}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[*HealthCheck],
)
@given(given_folder=folders())
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
def test_generated_recordings(given_folder: Folder, places: dict[str, Path], watch: Watch) -> None:
    folder = places["given"]
    shutil.rmtree(folder)
    folder.mkdir()
    for name, content in given_folder.files.items():
        (folder / name).write_bytes(content)
    run_all(folder, places, watch)
