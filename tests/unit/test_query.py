# SPDX-License-Identifier: Apache-2.0
"""SQL over a recording."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.scale.make_recording import write
from tests.unit.report_rows import connections, outage, traffic
from tracetw.cli import main

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")


@pytest.fixture(autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where judged recordings are kept."""
    base = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(base))
    return base / "tracetw" / "query"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    parts = [*traffic(seconds=300), *outage(at=10)]
    parts.append(connections("orderly-active", [5.0], local="2001:db8::1", remote="2001:db8::2"))
    rows = np.concatenate(parts)
    write(tmp_path, [rows[np.argsort(rows["at"].max(axis=1), kind="stable")]], seconds=300)
    return tmp_path


def ask(folder: Path, sql: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["query", str(folder), sql, *options])


def rows(folder: Path, sql: str) -> list[dict[str, Any]]:
    result = ask(folder, sql, "-o", "json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_verdicts(folder: Path) -> None:
    sql = "SELECT verdict, count(*) AS n FROM closes GROUP BY 1"
    found = {row["verdict"]: row["n"] for row in rows(folder, sql)}
    assert found["retransmit-exhausted"] == 412
    assert found["keepalive-expired"] == 38


def test_addresses(folder: Path) -> None:
    found = rows(folder, "SELECT DISTINCT remote_addr FROM closes ORDER BY 1")
    assert {"10.1.2.3", "2001:db8::2"} < {row["remote_addr"] for row in found}


def test_other_views(folder: Path) -> None:
    found = rows(folder, "SELECT value FROM sysctls WHERE name = 'ports' AND moment = 'attached'")
    assert found == [{"value": 28232}]
    assert rows(folder, "SELECT count(*) AS n FROM counters")[0]["n"] > 0
    for view in ("timewait", "drops", "retransmits"):
        assert rows(folder, f"FROM {view}") == []


def test_the_second_query_only_reads_what_is_kept(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "SELECT count(*) AS n FROM closes"
    first = rows(folder, sql)
    assert len([*kept.glob("*/closes.parquet")]) == 1
    monkeypatch.setattr("tracetw.query.index.open_recordings", None)
    assert rows(folder, sql) == first


def test_nothing_is_written_beside_a_recording(folder: Path, kept: Path) -> None:
    before = sorted(folder.rglob("*"))
    rows(folder, "SELECT 1")
    assert sorted(folder.rglob("*")) == before
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700


def test_other_rules_are_other_results(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(folder, "SELECT 1")
    before = {*kept.glob("*/closes.parquet")}
    monkeypatch.setattr("tracetw.query.cache.rules", lambda: "new")
    rows(folder, "SELECT 1")
    assert len({*kept.glob("*/closes.parquet")} - before) == 1


def test_a_recording_that_grew_is_judged_again(folder: Path) -> None:
    sql = "SELECT count(*) AS n FROM closes"
    (before,) = rows(folder, sql)
    write(folder, [connections("peer-reset", [299.0])], first_segment=1, seconds=300)
    assert rows(folder, sql) == [{"n": before["n"] + 1}]


@pytest.mark.parametrize("form", ["table", "csv", "parquet"])
def test_formats(folder: Path, form: str) -> None:
    result = ask(folder, "SELECT 42 AS answer, NULL AS nothing", "-o", form)
    assert result.exit_code == 0, result.output
    if form == "parquet":
        assert result.stdout_bytes[:4] == result.stdout_bytes[-4:] == b"PAR1"
    else:
        assert "answer" in result.stdout
        assert "42" in result.stdout


def test_bad_sql_is_one_line(folder: Path) -> None:
    result = ask(folder, "SELECT nothing FROM nowhere")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_without_duckdb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    monkeypatch.setattr("tracetw.cli.needs.in_checkout", lambda: False)
    result = ask(folder, "SELECT 1")
    assert result.exit_code == 3
    assert result.stderr == (
        "tracetw: tracetw query needs duckdb, which is not installed here;"
        " pip install 'tracetw[query]'\n"
    )
