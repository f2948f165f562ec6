# SPDX-License-Identifier: Apache-2.0
"""What was tried once against root who reads a recording, through the command itself."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.hostile_command import READERS, Done, every_reader, given, run, with_header
from tests.unit.hostile_recordings import HOSTILE_TEXTS, Bytes, base, packed, sealed
from tests.unit.recording_files import compaction, everything, golden
from tracetw.recording.convert import FORMAT_VERSION
from tracetw.recording.frame import FrameKind

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

__all__ = ["given", "run"]


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
        FrameKind.NAMES,
        b'{"cgroups":{"1":"/a\\\\\\udc80\\ud83d\\ude00\\\\udcff"},"users":{"0":"r\\ud800"}}',
    )
    first, *rest = base().frames
    found = [first, *(one for one in rest if one.kind != FrameKind.NAMES)]
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
    header = base().documents[FrameKind.HEADER]
    rows["at"][0] = 1
    frames = [
        one if one.kind != FrameKind.CLOSES else replace(one, data=rows.tobytes(), rows=len(rows))
        for one in with_header(clock={**header["clock"], "offset_ns": header["clock"]["offset_ns"]})
    ]
    (given / "a.tws").write_bytes(packed(frames))
    for offset in (0, -(2**61), 2**62 - 1):
        (given / "b.tws").write_bytes(
            packed(with_header(run="f" * 16, clock={"offset_ns": offset, "error_ns": 0}))
        )
        for done in every_reader(run, given):
            assert done.code == 0, done.err


def test_a_name_does_not_reach_the_terminal_raw(given: Path, run: Callable[..., Done]) -> None:
    (given / "a\x1b[2J\n\u202eb.tws").write_bytes(b"nothing")
    done = run("report", given=given)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "\\x1b[2J\\n\\u202eb.tws" in done.err


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
