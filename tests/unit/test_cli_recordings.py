# SPDX-License-Identifier: Apache-2.0
"""Options and messages of the commands that read recordings: report, replay, query."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.scale.make_recording import write
from tests.unit.recording_files import written
from tests.unit.report_rows import WALL, connections
from tracetw.cli import main
from tracetw.recording.reader import open_recordings
from tracetw.report.filtered import recorded_only

SECOND = 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes with an end every ten seconds."""
    path = tmp_path_factory.mktemp("rec")
    rows = connections("orderly-active", [float(second) for second in range(10, 300, 10)])
    write(path, [rows[np.argsort(rows["at"].max(axis=1), kind="stable")]], seconds=300)
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def lines(*words: object) -> list[dict[str, Any]]:
    result = run(*words, "-o", "json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def moment(seconds: float) -> str:
    """A time so long after the beginning, in UTC."""
    at = np.datetime64(WALL + int(seconds * SECOND), "ns").astype("datetime64[s]")
    return f"{at}Z"


def test_replay_of_a_part(folder: Path) -> None:
    every = [line["time"] for line in lines("replay", folder) if line["kind"] == "close"]
    assert len(every) == 29
    part = lines("replay", folder, "--since", moment(100), "--until", moment(200))
    times = [line["time"] for line in part if line["kind"] == "close"]
    assert times == [time for time in every if moment(100)[:19] <= time[:19] < moment(200)[:19]]
    assert 9 <= len(times) <= 11
    assert part[-1]["closes"] == {"orderly": len(times)}
    before_the_end = lines("replay", folder, "--since", "30s")
    assert len([line for line in before_the_end if line["kind"] == "close"]) in {2, 3}


def test_events_that_were_not_recorded_are_said(folder: Path) -> None:
    result = run("replay", folder, "--events", "drop,timewait")
    assert result.exit_code == 0
    assert "single events (drop, timewait) were not recorded on 'web-1'" in result.stderr


@pytest.mark.parametrize("command", ["report", "replay"])
@pytest.mark.parametrize(
    ("option", "seconds", "words"),
    [("--since", 4000, "after the end"), ("--until", -4000, "before the beginning")],
)
def test_a_time_with_nothing_in_it_says_so(
    folder: Path, command: str, option: str, seconds: float, words: str
) -> None:
    result = run(command, folder, option, moment(seconds))
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert f"{option} {moment(seconds)} is {words} of the recordings" in line
    assert f"they are from {moment(0)[:10]}" in line


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no recording and no SQL given"),
        (["FOLDER"], "no SQL given after"),
        (["SELECT 1"], "no recording named before the SQL 'SELECT 1'"),
        (["FOLDER", "FOLDER"], "no SQL given after"),
        (["FOLDER", " "], "no SQL given after"),
        (["nowhere", "SELECT 1"], "nowhere does not exist"),
    ],
)
def test_query_says_what_is_missing(folder: Path, words: list[str], text: str) -> None:
    result = run("query", *(str(folder) if word == "FOLDER" else word for word in words))
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert text in line


def test_names_of_another_host_need_not_exist_here(folder: Path) -> None:
    assert run("replay", folder, "--cgroup", "/there.slice", "--container", "abcd").exit_code == 0
    assert run("replay", folder, "--container", "!web", "--cgroup", "!/x").exit_code == 0
    for words in (["--netns", "nowhere"], ["--netns", "9" * 5000], ["--cgroup", "9" * 12]):
        result = run("replay", folder, *words)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1


def test_filters_of_a_recording_are_told_in_words(folder: Path, tmp_path: Path) -> None:
    (recording,) = open_recordings([folder])
    filters = ("--netns web", "--netns 77", "--netns 78", "--port '!22'", "--abnormal")
    header = replace(recording.header, filters=filters, netns_names={77: "db"})
    written(tmp_path / "00000.tws", header)
    text = " ".join(run("report", tmp_path).stdout.split())
    wanted = (
        "only connections in network namespace web or 77 (db) or 78, with port other than 22,"
        " that ended abnormally were recorded"
    )
    assert wanted in text


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ((), None),
        (("--netns web",), "only connections in network namespace web were recorded"),
        (
            ("--port 22,80", "--port '!443'", "-4"),
            "only connections with port 22, 80, with port other than 443, over IPv4 were recorded",
        ),
        (("--new x",), "only connections as --new x chooses them were recorded"),
        (("--comm 'unclosed", "--netns " + "9" * 99), None),
    ],
)
def test_words_of_filters(filters: tuple[str, ...], words: str | None) -> None:
    found = recorded_only(filters, {77: "db"})
    assert found == words if words or not filters else found is not None
