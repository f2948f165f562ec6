# SPDX-License-Identifier: Apache-2.0
"""A recording in which every name is hostile, through every command and every output of it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.hostile_names import HOSTILE, assert_people_can_read, strict
from tests.unit.recording_files import everything, golden
from tracetw.cli import main
from tracetw.recorder.folder import Folder
from tracetw.recorder.writer import SegmentWriter, to_json
from tracetw.recording.facts import Lost
from tracetw.recording.frame import FrameKind
from tracetw.text import decoded, visible

WORST = "\x1b[2J\r\n\u202e\x9b1m</script>=1+1\u2028"
GROUP = 1 << 40
RAW = [raw.rstrip(b"\0") for raw in HOSTILE if len(raw) <= 15]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden recording, with other names."""
    path = tmp_path_factory.mktemp("hostile") / "rec"
    path.mkdir()
    recording = golden()
    rows = everything(recording).copy()
    some = len(RAW)
    assert some <= len(rows)
    rows = rows[:some]
    rows["comm"] = RAW
    rows["cgroup"] = GROUP + (rows["pid"] * 0 + range(some))
    rows["uid"] = range(some)
    header = replace(
        recording.header,
        host=WORST,
        kernel=WORST,
        machine=WORST,
        tracetw=WORST,
        netns_names={recording.header.netns: WORST},
        command=("tracetw", WORST),
        filters=(WORST,),
    )
    with Folder.reach(path) as place:
        writer = SegmentWriter(place, "0.tws", header)
        groups = {GROUP + at: "/" + decoded(raw) for at, raw in enumerate(HOSTILE[:some])}
        users = {at: decoded(raw) for at, raw in enumerate(HOSTILE[:some])}
        writer.add(FrameKind.NAMES, [to_json({"cgroups": groups, "users": users})])
        writer.add(FrameKind.CLOSES, [rows.tobytes()], some)
        now = recording.header.started_ns
        writer.add(FrameKind.LOST, [to_json(asdict(Lost(1, WORST, now, now + 1)))])
        events = everything(recording, "events").copy()
        events["comm"] = [RAW[at % some] for at in range(len(events))]
        writer.add(FrameKind.EVENTS, [events.tobytes()], len(events))
        writer.finish()
    return path


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [str(word) for word in arguments])
    assert result.exit_code == 0, result.output
    assert_people_can_read(re.sub(r"\x1b\[\d*m", "", result.stderr))
    return result.stdout


EVENTS = ("--events", "timewait,drop,retransmit,transition")


@pytest.mark.parametrize("form", ["table", "wide"])
def test_replay(folder: Path, form: str) -> None:
    text = run("replay", folder, "-o", form, *EVENTS)
    assert_people_can_read(text)
    assert len(text.splitlines()) == 2 + len(RAW) + len(everything(golden(), "events"))
    if form == "wide":
        for raw in RAW:
            assert visible(decoded(raw)) in text


def test_replay_with_colours_has_no_other_escapes(folder: Path) -> None:
    assert_people_can_read(re.sub(r"\x1b\[\d*m", "", run("replay", folder, "--color")))


def test_replay_as_json(folder: Path) -> None:
    lines = [strict(line) for line in run("replay", folder, "-o", "json", *EVENTS).splitlines()]
    closes = [line for line in lines if line["kind"] == "close"]
    assert [line["comm"] or "" for line in closes] == [decoded(raw) for raw in RAW]
    assert {line["host"] for line in lines} == {WORST}
    paths = {line["cgroup"] for line in closes}
    assert paths == {"/" + decoded(raw) for raw in HOSTILE[: len(RAW)]}


def test_report_as_text(folder: Path) -> None:
    text = run("report", folder)
    assert_people_can_read(text)
    assert visible(WORST) in " ".join(text.split())


def test_report_as_json(folder: Path) -> None:
    (line,) = run("report", folder, "--json").splitlines()
    assert strict(line)["hosts"][0]["name"] == WORST


def test_report_as_page(folder: Path, tmp_path: Path) -> None:
    run("report", folder, "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL
    )
    assert_people_can_read(data)
    assert not set("<>&") & set(data)
    document = json.loads(data)
    assert document["hosts"][0]["name"] == visible(WORST)
    assert page.count("</script") == 2
    assert "\x1b" not in page
    assert "\u202e" not in page


SQL = "SELECT host, comm, cgroup, \"user\", pid, 'nan'::double AS x FROM closes"


def test_query_as_table(folder: Path) -> None:
    text = run("query", folder, SQL)
    assert_people_can_read(text)
    assert len(text.splitlines()) == 2 + len(RAW)
    for raw in RAW:
        assert visible(decoded(raw)) in text


def test_query_as_csv(folder: Path) -> None:
    text = run("query", folder, "-o", "csv", SQL)
    assert_people_can_read(text)
    head, *rows = csv.reader(io.StringIO(text))
    assert head == ["host", "comm", "cgroup", "user", "pid", "x"]
    assert len(rows) == len(RAW) == len(text.splitlines()) - 1
    for row in rows:
        assert row[4] == "" or row[4].isdigit()
        assert not any(field.startswith(("=", "+", "-", "@", "\t", "\r")) for field in row[:4])


def test_query_as_json(folder: Path) -> None:
    rows = [strict(line) for line in run("query", folder, "-o", "json", SQL).splitlines()]
    assert {row["comm"] or "" for row in rows} == {decoded(raw) for raw in RAW}
    assert {row["x"] for row in rows} == {None}


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"two\nlines", b"cr\rover", "中文中文中".encode()])
def test_a_filter_finds_a_name_as_it_is_printed(folder: Path, raw: bytes) -> None:
    for name in {visible(decoded(raw)), decoded(raw), raw.decode(errors="surrogateescape")}:
        text = run("replay", folder, "-o", "json", "--comm", name)
        comms = [json.loads(line).get("comm") for line in text.splitlines()[:-1]]
        assert {comm for comm in comms if comm} == {decoded(raw)}, name


def test_other_filters_take_what_is_printed(folder: Path) -> None:
    for name in (WORST, visible(WORST)):
        text = run("replay", folder, "-o", "json", "--netns", name)
        assert len(text.splitlines()) > 1
    path = "/" + decoded(HOSTILE[0])
    for name in (path, visible(path)):
        text = run("replay", folder, "-o", "json", "--cgroup", name)
        lines = map(strict, text.splitlines())
        assert [line["cgroup"] for line in lines if line["kind"] == "close"] == [path]


def test_an_output_that_is_not_utf_8(folder: Path) -> None:
    """Names have letters that the encoding of a terminal lacks: no reason to fail."""
    words = [sys.executable, "-m", "tracetw", "report", str(folder)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


@pytest.mark.parametrize("word", [decoded(raw) for raw in HOSTILE[:19:2]] + ["\udcff"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "{}"],
        ["replay", "{}"],
        ["query", "{}", "SELECT 1"],
        ["explain", "{}"],
        ["trace", "--verdict", "{}"],
        ["trace", "--netns", "{}/"],
        ["trace", "--port", "{}"],
        ["trace", "--duration", "{}"],
        ["lab", "run", "{}"],
        ["record", "-o", "/nowhere", "--trigger", "{}"],
        ["{}"],
    ],
    ids=" ".join,
)
def test_an_error_quotes_in_one_line(arguments: list[str], word: str) -> None:
    words = [each.replace("{}", f"./x{word}") for each in arguments]
    result = CliRunner().invoke(main, words)
    assert result.exit_code in (1, 2, 3), result.output
    assert_people_can_read(result.stderr)
    assert len(result.stderr.splitlines()) == 1
    assert not result.stdout


def test_an_error_of_sql_quotes_in_one_line(folder: Path) -> None:
    for sql in (f'"{WORST}"', "SELECT host::int FROM closes", f"'{WORST}", "SELECT '\udcff'"):
        result = CliRunner().invoke(main, ["query", str(folder), sql])
        assert result.exit_code == 2, result.output
        assert_people_can_read(result.stderr)
        assert len(result.stderr.splitlines()) == 1
