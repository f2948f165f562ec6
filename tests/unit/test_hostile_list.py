# SPDX-License-Identifier: Apache-2.0
"""What was tried once against root who reads a recording, through the command itself."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.hostile_recordings import HOSTILE_TEXTS, Bytes, base, dumped, packed, sealed
from tests.unit.recording_files import compaction, everything, golden
from tracetw.recording.convert import FORMAT_VERSION
from tracetw.recording.frame import Kind
from tracetw.recording.schema import JSON_BYTES

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

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
    return [replace(first, data=dumped({**base().documents[Kind.HEADER], **changes})), *rest]


def test_a_run_never_becomes_a_path(given: Path, run: Callable[..., Done]) -> None:
    for text in HOSTILE_TEXTS:
        (given / "a.tws").write_bytes(packed(with_header(run=text)))
        done = run("query", "SELECT 1", given=given)
        assert done.code == 2
        assert "$.run" in done.err
        assert len(done.err.splitlines()) == 1
    (given / "victim").symlink_to(given.parent / "victim")
    (given / "a.tws").write_bytes(packed(with_header(run="x/*")))
    assert run("query", "SELECT 1", given=given).code == 2


def test_a_host_is_only_a_name(given: Path, run: Callable[..., Done]) -> None:
    for text in (text for text in HOSTILE_TEXTS if len(text) < 1000):
        (given / "a.tws").write_bytes(packed(with_header(host=text)))
        done = run("query", "-o", "json", "SELECT DISTINCT host FROM closes", given=given)
        assert done.code == 0, done.err
        assert json.loads(done.out) == {"host": text}


def test_fields_of_a_later_tracetw_are_passed_over(given: Path, run: Callable[..., Done]) -> None:
    (given / "a.tws").write_bytes(packed(with_header(later={"x": [1, {"y": None}]})))
    assert "20 connections" in run("report", given=given).out


def test_a_name_that_is_no_utf8_is_text(given: Path, run: Callable[..., Done]) -> None:
    r"""As recorders write it: half a surrogate pair stands for a byte (PEP 383)."""
    names = Bytes(
        Kind.NAMES,
        b'{"cgroups":{"1":"/a\\\\\\udc80\\ud83d\\ude00\\\\udcff"},"users":{"0":"r\\ud800"}}',
    )
    first, *rest = base().frames
    found = [first, *(one for one in rest if one.kind != Kind.NAMES)]
    (given / "a.tws").write_bytes(packed([*found[:-1], names, found[-1]]))
    done = run("query", "-o", "json", "SELECT DISTINCT cgroup, user FROM closes", given=given)
    assert json.loads(done.out) == {"cgroup": "/a\\\\x80\U0001f600\\udcff", "user": "r\\ud800"}


SPECIAL = ["fifo", "folder", "socket", "link", "dangling link", "loop", "device"]


def special(path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            here = Path.cwd()
            os.chdir(path.parent)  # its name may be longer than such an address
            try:
                one.bind(path.name)
            finally:
                os.chdir(here)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path.name)
    else:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_named_and_passed_over(
    kind: str, given: Path, run: Callable[..., Done]
) -> None:
    if kind == "device" and os.geteuid() != 0:
        pytest.skip("only root makes devices: mknod(2) needs CAP_MKNOD")
    special(given / "x.tws", kind)
    alone = run("report", given=given)
    assert alone.code == 2
    assert "x.tws" in alone.err
    (given / "a.tws").write_bytes(packed([*base().frames]))
    for done in every_reader(run, given):
        assert done.code == 0, done.err
    beside = run("report", given=given)
    assert "x.tws" in beside.out
    assert "no regular file" in beside.out
    assert "20 connections" in beside.out


@pytest.mark.parametrize("kind", SPECIAL)
def test_parquet_that_is_no_regular_file(kind: str, given: Path, run: Callable[..., Done]) -> None:
    if kind == "device" and os.geteuid() != 0:
        pytest.skip("only root makes devices: mknod(2) needs CAP_MKNOD")
    (given / "a.tws").write_bytes(packed([*sealed().frames]))
    (given / "a.events.parquet").write_bytes(sealed().files["a.events.parquet"])
    special(given / "a.closes.parquet", kind)
    for done in every_reader(run, given):
        assert done.code == 0, done.err
    assert "no regular file" in run("replay", given=given).err


def test_a_path_that_is_no_regular_file(given: Path, run: Callable[..., Done]) -> None:
    os.mkfifo(given / "x.tws")
    for words in READERS:
        done = run(*words, given=given / "x.tws")
        assert done.code == 2
        assert len(done.err.splitlines()) == 1
        assert "FIFO" in done.err


def test_a_row_of_1970_beside_those_of_today(given: Path, run: Callable[..., Done]) -> None:
    rows = np.tile(everything(golden())[:20], 20)
    header = base().documents[Kind.HEADER]
    rows["at"][0] = 1
    frames = [
        one if one.kind != Kind.CLOSES else replace(one, data=rows.tobytes(), rows=len(rows))
        for one in with_header(clock={**header["clock"], "offset_ns": header["clock"]["offset_ns"]})
    ]
    (given / "a.tws").write_bytes(packed(frames))
    for offset in (0, -(2**61), 2**62 - 1):
        (given / "b.tws").write_bytes(
            packed(with_header(run="f" * 16, clock={"offset_ns": offset, "error_ns": 0}))
        )
        for done in every_reader(run, given):
            assert done.code == 0, done.err


def test_documents_that_are_too_large(given: Path, run: Callable[..., Done]) -> None:
    first, *rest = base().frames
    for data in (
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b" " * (JSON_BYTES + 1),
        b'{"extra":[' + b"[],".join([b""] * 2_000_000) + b"[]],",
        b"\xff" * 1000,
        b'{"run":"' + b"a" * (JSON_BYTES - 100) + b'"}',
    ):
        (given / "a.tws").write_bytes(packed([replace(first, data=data), *rest]))
        done = run("report", given=given)
        assert done.code == 2
        assert len(done.err) < 1000
        (given / "a.tws").write_bytes(packed([first, Bytes(Kind.SAMPLE, data), *rest]))
        done = run("report", given=given)
        assert done.code == 0
        assert "a frame is not what it should be" in done.out


@pytest.mark.parametrize(
    "shape",
    ['"counters":{%s}', '"sysctls":{"1":{%s}}', '"names":{"drop_reasons":{%s}}', '"gone":[%s]'],
)
def test_documents_as_large_as_may_be(shape: str, given: Path, run: Callable[..., Done]) -> None:
    """Of the smallest parts that there are, in a header and in samples."""
    first, *rest = base().frames
    step, value = (8, "{}") if "counters" in shape else (8, "0")
    count = JSON_BYTES // (step + 5) - 1000
    items = ",".join("0" for _ in range(JSON_BYTES // 2 - 2000))
    if "gone" not in shape:
        items = ",".join(f'"{number}":{value}' for number in range(count))
    key = shape.split('"')[1]

    def large(document: dict[str, Any]) -> bytes:
        others = dumped({name: part for name, part in document.items() if name != key})
        return ("{" + shape % items + "," + others.decode()[1:]).encode()

    header = large(base().documents[Kind.HEADER])
    samples = [Bytes(Kind.SAMPLE, large(base().documents[Kind.SAMPLE]))] * 2
    (given / "a.tws").write_bytes(packed([replace(first, data=header), *rest]))
    (given / "b.tws").write_bytes(packed([*with_header(run="f" * 16)[:1], *samples, *rest]))
    for words in (("report",), ("query", "SELECT count(*) FROM counters")):
        assert run(*words, given=given).code in {0, 1, 2}


def test_a_file_of_holes_is_not_read_to_its_end(given: Path, run: Callable[..., Done]) -> None:
    path = given / "a.tws"
    path.write_bytes(packed([*base().frames]))
    os.truncate(path, 1 << 33)
    done = run("report", given=given)
    assert done.code == 2
    assert "is no segment" in done.err


def test_a_name_does_not_reach_the_terminal_raw(given: Path, run: Callable[..., Done]) -> None:
    (given / "a\x1b[2J\n\u202eb.tws").write_bytes(b"nothing")
    done = run("report", given=given)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "\\x1b[2J\\n\\u202eb.tws" in done.err


def test_folders_without_end(given: Path, run: Callable[..., Done]) -> None:
    (given / "loop").symlink_to(given)
    deep = given
    for _ in range(40):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "far.tws").write_bytes(b"")
    (given / "a.tws").write_bytes(packed([*base().frames]))
    for done in every_reader(run, given):
        assert done.code == 0, done.err
    assert "too deep to be looked into" in run("replay", given=given).err


def test_one_that_claims_the_run_of_another_does_not_hide_it(
    given: Path, run: Callable[..., Done]
) -> None:
    (given / "a.tws").write_bytes(packed([*base().frames]))
    forged = with_header(boot="another", host="forged")
    (given / "b.tws").write_bytes(packed([*forged[:-1], *forged[4:6], forged[-1]]))
    done = run("query", "-o", "json", "SELECT DISTINCT host FROM closes ORDER BY 1", given=given)
    assert [json.loads(line)["host"] for line in done.out.splitlines()] == ["forged", "golden"]


def test_one_of_a_later_format_does_not_hide_the_others(
    given: Path, run: Callable[..., Done]
) -> None:
    (given / "a.tws").write_bytes(packed([*base().frames]))
    later = [replace(one, version=65_535) for one in base().frames]
    (given / "b.tws").write_bytes(packed(later))
    done = run("replay", given=given)
    assert done.code == 0
    assert "b.tws" in done.err
    assert "please update tracetw" in done.err


@pytest.mark.parametrize("kind", [*SPECIAL, "unknown frame", "later format", "no header"])
def test_a_recorder_compacts_only_what_a_recorder_wrote(
    kind: str, given: Path, run: Callable[..., Done]
) -> None:
    """It does so with what lies in its folder when it starts."""
    if kind == "device" and os.geteuid() != 0:
        pytest.skip("only root makes devices: mknod(2) needs CAP_MKNOD")
    path = given / "a.tws"
    if kind == "unknown frame":
        first, *rest = base().frames
        path.write_bytes(packed([first, Bytes(9, b"of a later tracetw"), *rest]))
    elif kind == "later format":
        path.write_bytes(
            packed([replace(one, version=FORMAT_VERSION + 1) for one in base().frames])
        )
    elif kind == "no header":
        path.write_bytes(packed([*base().frames[1:]]))
    else:
        special(path, kind)
    assert compaction(path) == 0
    if kind == "unknown frame":
        assert {one.name for one in given.iterdir()} > {"a.tws", "a.closes.parquet"}
        assert "20 connections" in run("report", given=given).out
    else:
        assert [one.name for one in given.iterdir()] == ["a.tws"]


def test_more_files_than_anybody_has(given: Path, run: Callable[..., Done]) -> None:
    for number in range(20_001):
        (given / f"{number}.tws").touch()
    for words in READERS:
        done = run(*words, given=given)
        assert done.code == 2
        assert "give a smaller part" in done.err
    for number in range(10_000):
        (given / f"{number}.tws").unlink()
    (given / "a.tws").write_bytes(packed([*base().frames]))
    done = run("replay", given=given)
    assert done.code == 0
    assert "more files cannot be read" in done.err
    assert len(done.err) < 100_000


def test_few_bytes_that_stand_for_many_values(given: Path, run: Callable[..., Done]) -> None:
    """A sample is written as what changed: 150 bytes may stand for the largest header there is."""
    many = {str(inode): {f"c{number}": 1 for number in range(40)} for inode in range(9_000)}
    first, *rest = with_header(counters=many)
    sample = {**base().documents[Kind.SAMPLE], "moment": "running", "counters": {"1": {"c1": 2}}}
    samples = [
        Bytes(Kind.SAMPLE, dumped({**sample, "counters": {"1": {"c1": number}}, "gone": []}))
        for number in range(4_000)
    ]
    (given / "a.tws").write_bytes(packed([first, *samples, *rest]))
    for done in every_reader(run, given):
        assert done.code == 0, done.err


def test_many_large_headers(given: Path, run: Callable[..., Done]) -> None:
    many: dict[str, dict[str, int]] = {str(inode): {} for inode in range(500_000)}
    for number in range(12):
        frames = with_header(counters=many, run=f"{number:016x}")
        (given / f"{number:02}.tws").write_bytes(packed(frames))
    done = run("report", given=given)
    assert done.code == 2
    assert "give fewer" in done.err


def test_long_names(given: Path, run: Callable[..., Done]) -> None:
    first, *rest = base().frames
    names = [
        Bytes(
            Kind.NAMES,
            dumped({"cgroups": {number + step: "/" + "x" * 30_000 for step in range(200)}}),
        )
        for number in range(0, 6_000, 200)
    ]
    (given / "a.tws").write_bytes(packed([first, *names, *rest]))
    for words in (("report",), ("replay", "-o", "json"), ("query", "SELECT count(*) FROM closes")):
        assert run(*words, given=given).code == 0
    assert "too many names" in run("report", given=given).out


def test_many_losses_and_names(given: Path, run: Callable[..., Done]) -> None:
    first, *rest = base().frames
    lost = base().documents[Kind.LOST]
    at = lost["since_ns"]
    losses = [
        Bytes(Kind.LOST, dumped({**lost, "since_ns": at + number, "until_ns": at + 10**9}))
        for number in range(9_000)
    ]
    names = [
        Bytes(
            Kind.NAMES, dumped({"cgroups": {number + step: f"/{number}" for step in range(20_000)}})
        )
        for number in range(0, 600_000, 20_000)
    ]
    (given / "a.tws").write_bytes(packed([first, *losses, *names, *rest]))
    for done in every_reader(run, given):
        assert done.code == 0, done.err
