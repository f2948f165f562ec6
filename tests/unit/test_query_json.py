# SPDX-License-Identifier: Apache-2.0
"""SQL and JSON are two descriptions of one thing: every column has the value of its field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.scale.make_recording import write
from tests.unit.recording_files import GOLDEN
from tests.unit.report_rows import connections
from tests.unit.sink_rows import varied
from tracetw.cli import main
from tracetw.event import record

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

ROWS = 400
RENAMED = {
    "retransmits": "retransmits.total",
    "fin_retransmits": "retransmits.fin",
    "last_rto_ms": "retransmits.last_rto_ms",
    "backoff": "retransmits.backoff",
    "probes": "probes.total",
    "mptcp_subflows": "mptcp.subflows_total",
    "from_state": "from",
    "to_state": "to",
}
# Of SQL alone. Of these the other tests say what they are.
ONLY_SQL = {
    "time_ns", "service_port", "service", "user", "abnormal", "missing",
    "entered_ms", "stayed_ms",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _kept(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of all sorts, each in a namespace of its own by which to find it again."""
    timers = connections("keepalive-expired", [5.0, 6.0])
    rows = np.concatenate([varied(ROWS - len(timers), seed=3).rows, timers])
    rows["netns"] = np.arange(ROWS) + 1000
    rows["flags"][::9] &= ~np.uint32(record.F_CLOSED | record.F_MISSED)
    folder = tmp_path_factory.mktemp("recording")
    write(folder, [rows[np.argsort(rows["at"].max(axis=1), kind="stable")]], seconds=600)
    return folder


def said(*words: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, [*words])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def flat(document: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{name}.")
        elif isinstance(value, list):
            words = [each["state"] if name == "states" else each for each in value]
            yield name, " ".join(words) or None
        else:
            yield above + name, value


def same(name: str, column: object, fields: dict[str, Any]) -> bool:
    field = RENAMED.get(name, name)
    if field not in fields:
        field = name.replace("_", ".", 1)
    value = fields.get(field)
    if name == "reset_reason" and fields.get("reset.reason_from") == "inferred":
        value = None
    if name == "time":
        return value is None or str(value).startswith(str(column).replace(" ", "T"))
    return column == (pytest.approx(value, abs=0.001) if isinstance(value, float) else value)


def test_a_connection(invented: Path) -> None:
    rows = said("query", str(invented), "SELECT * FROM closes ORDER BY netns", "-o", "json")
    lines = [
        line for line in said("replay", str(invented), "-o", "json") if line["kind"] == "close"
    ]
    lines.sort(key=lambda line: int(line["netns"]))
    assert len(rows) == len(lines) == ROWS
    fields = [dict(flat(line)) for line in lines]
    every = {name for each in fields for name in each}
    unknown = {
        name for name in rows[0] if not {name, RENAMED.get(name), name.replace("_", ".", 1)} & every
    }
    assert {name for name in unknown if not name.startswith("mptcp_")} == ONLY_SQL
    for row, line in zip(rows, fields, strict=True):
        assert [n for n in row if n not in unknown and not same(n, row[n], line)] == [], (row, line)


@pytest.mark.parametrize("view", ["timewait", "drops", "retransmits", "transitions"])
def test_an_event(view: str) -> None:
    folder = str(GOLDEN / "v3" / "raw")
    rows = said("query", folder, f"SELECT * FROM {view} ORDER BY time_ns", "-o", "json")  # noqa: S608
    words = ("--events", "retransmit,timewait,drop,transition")
    lines = said("replay", folder, "-o", "json", *words)
    events = [dict(flat(line)) for line in lines if line["kind"] == view.removesuffix("s")]
    assert len(rows) == len(events)
    for row, line in zip(rows, events, strict=True):
        names = [name for name in row if name not in ONLY_SQL]
        assert [name for name in names if not same(name, row[name], line)] == [], (row, line)
