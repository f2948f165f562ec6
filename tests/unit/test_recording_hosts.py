# SPDX-License-Identifier: Apache-2.0
"""Two hosts of one name are never taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.unit.recording_files import golden, written
from tests.unit.report_rows import SECOND, WALL, Memory, connections, header_of
from tracetw.cli import main
from tracetw.host.identity import boot_id, machine_id
from tracetw.recording.header import Header
from tracetw.recording.hosts import host_names
from tracetw.recording.reader import open_recordings
from tracetw.report.build import build

ONE, OTHER = "a1b2c3d4" * 4, "ffeeddcc" * 4


def header(machine: str | None, boot: str, *, start: float = 0, host: str = "web1") -> Header:
    begin = WALL + int(start * SECOND)
    return replace(
        header_of(host, 0),
        machine_id=machine,
        boot=boot,
        run_started_ns=begin,
        started_ns=begin,
        ended_ns=begin + 60 * SECOND,
    )


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        ([header(ONE, "b1")], ["web1"]),
        ([header(ONE, "b1"), header(OTHER, "b2", host="web2")], ["web1", "web2"]),
        ([header(ONE, "b1"), header(OTHER, "b2")], ["web1 (a1b2c3)", "web1 (ffeedd)"]),
        # One host that was started again, and two copies of one image.
        ([header(ONE, "b1"), header(ONE, "b2", start=100)], ["web1", "web1"]),
        ([header(ONE, "boot-1"), header(ONE, "boot-2", start=30)], ["web1 (boot-1)", "web1 (boot-2)"]),
        # Older recordings have no machine id.
        ([header(None, "b1"), header(None, "b1")], ["web1", "web1"]),
        ([header(None, "boot-1"), header(None, "boot-2")], ["web1 (boot-1)", "web1 (boot-2)"]),
        ([header(None, "b1"), header(ONE, "b1", start=100)], ["web1", "web1"]),
        # As many digits as it takes.
        ([header("a" * 8 + "b", "1"), header("a" * 8 + "c", "2")],
         ["web1 (aaaaaaaab)", "web1 (aaaaaaaac)"]),
    ],
)  # fmt: skip
def test_names(headers: list[Header], names: list[str]) -> None:
    assert host_names(headers) == names


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    """Recordings of two hosts that are both called ``golden``."""
    folders = []
    for number, machine in enumerate((ONE, OTHER)):
        path = tmp_path / str(number) / f"{number}.tws"
        path.parent.mkdir()
        boot = f"{number}{number}f0c0ab"
        mine = replace(golden().header, machine_id=machine, boot=boot, run=f"{number}" * 16)
        written(path, mine)
        folders.append(str(path.parent))
    return folders


def test_every_reader_tells_them_apart(two: list[str]) -> None:
    names = {"golden (a1b2c3)", "golden (ffeedd)"}
    recordings = open_recordings(two)
    report = build(recordings, utc=True)
    assert {host.name for host in report.hosts} == names
    assert {story.close["host"] for story in report.stories} == names
    lines = CliRunner().invoke(main, ["replay", *two, "-o", "json"]).stdout.splitlines()
    assert {json.loads(line)["host"] for line in lines} == names
    pytest.importorskip("duckdb")
    for paths, wanted in ((two[:1], {"golden"}), (two, names), (two[:1], {"golden"})):
        sql = "SELECT DISTINCT host FROM closes UNION SELECT DISTINCT host FROM counters"
        asked = CliRunner().invoke(main, ["query", *paths, sql, "-o", "json"])
        assert asked.exit_code == 0, asked.output
        assert {json.loads(line)["host"] for line in asked.stdout.splitlines()} == wanted


def test_loopback_is_not_joined_between_hosts() -> None:
    """The first network namespace has the same inode number on every host."""
    ends: dict[str, Any] = {"local": "127.0.0.1", "remote": "127.0.0.1"}
    client = connections("orderly-active", [10.0], lport=40000, rport=5432, **ends)
    server = connections("orderly-passive", [10.0], lport=5432, rport=40000, server=True, **ends)
    here, there = (
        Memory(client, host="web1 (a1b2c3)"),
        Memory(server, host="web1 (ffeedd)", run="2"),
    )
    assert build([here, there], utc=True).pairs == 0
    assert build([here, Memory(server, host="web1 (a1b2c3)", run="2")], utc=True).pairs == 1


def test_machine_id(tmp_path: Path) -> None:
    path = tmp_path / "machine-id"
    assert machine_id(path) is None
    for text in ("", "uninitialized\n", "0" * 32, "\u00e4"):
        path.write_text(text)
        assert machine_id(path) is None
    path.write_text("0123456789abcdef0123456789abcdef\n")
    told = machine_id(path)
    assert told is not None
    assert len(told) == 32
    assert told != path.read_text().strip(), "it is confidential"
    path.write_text("0123456789abcdef0123456789abcdee\n")
    assert machine_id(path) != told
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
