# SPDX-License-Identifier: Apache-2.0
"""scripts/bench measures: short rounds, whose numbers say nothing, but whose accounts must add up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmark.errors import NotStarted
from scripts.benchmark.unpack import find
from scripts.benchmark.web import PACKAGES

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]


def bench(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The rows of a run; they must be in the printed tables as well."""
    written = folder / "rounds.json"
    command = [sys.executable, str(ROOT / "scripts" / "bench"), "--quick", "--json", str(written)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    rows: list[dict[str, Any]] = json.loads(written.read_text())["rows"]
    assert all(row["name"] in done.stdout for row in rows)
    return rows


@pytest.mark.parametrize("name", ["json", "table", "wide", "record"])
def test_rows_and_losses_of_a_storm_are_the_ends(tmp_path: Path, name: str) -> None:
    chosen = ("--only", f"tracetw-{name}", "--load", "rst", "--connections", "3000")
    (row,) = bench(tmp_path, *chosen)
    (one,) = row["rounds"]
    account = one["tracing"]["account"]
    assert account["truth"] == 6000
    assert account["rows"] + account["lost"] == 6000
    assert one["tracing"]["usage"]["user"] >= 0
    assert one["traced"]["busy_s"] > 0
    assert row["cost"]["runs"]["count"] > 6000
    assert 0 < row["cost"]["floor"]["ns"] < row["cost"]["runs"]["ns"]
    assert row["wrong"] == []


def test_idle_is_measured(tmp_path: Path) -> None:
    chosen = ("--only", "tracetw-json", "--only", "tracetw-table", "--load", "idle")
    rows = bench(tmp_path, *chosen)
    assert [row["name"] for row in rows] == ["tracetw-json", "tracetw-table"]
    for row in rows:
        assert row["windows"][0]["cpu_s"] > 0
        assert row["windows"][0]["wakeups"] > 0
        assert min(row["late_ms"]) > 0
        assert not row["memory"]["compiler"]


def test_a_web_server_is_traced(tmp_path: Path) -> None:
    try:
        find(PACKAGES, tmp_path)
    except NotStarted as error:
        pytest.skip(f"neither installed nor to be had: {error}")
    chosen = ("--only", "tracetw-json", "--load", "nginx", "--connections", "1000")
    (row,) = bench(tmp_path, *chosen)
    account = row["rounds"][0]["tracing"]["account"]
    assert account["rows"] + account["lost"] == account["truth"] >= 2000
    assert row["rounds"][0]["traced"]["load"]["p99_ms"] > 0
