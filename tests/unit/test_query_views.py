# SPDX-License-Identifier: Apache-2.0
"""The views of ``query``: what their columns are, and what the ones made of others say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from tests.scale.make_recording import write
from tests.unit.recording_files import GOLDEN
from tests.unit.report_rows import NETNS, WALL, Memory, connections
from tests.unit.sink_rows import CONTEXT, closes
from tracetw.cli import main
from tracetw.event import record as r
from tracetw.event.fields import State
from tracetw.query.columns import closes_table
from tracetw.query.samples import losses_tables
from tracetw.query.times import STATES, time_columns
from tracetw.query.views import VIEWS
from tracetw.recording.facts import Lost
from tracetw.sink.mptcp import mptcp_objects

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

PAGE = Path(__file__).parents[2] / "docs" / "post-mortem.md"
VIEW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAME = re.compile(r"`(\w+)`")
SECOND = 1_000_000_000
SIGKILL = 9


@pytest.fixture(autouse=True)
def _kept(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def rows(folder: Path, sql: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, ["query", str(folder), sql, "-o", "json"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def recorded(folder: Path, *parts: NDArray[Any]) -> Path:
    whole = np.concatenate(parts)
    write(folder, [whole[np.argsort(whole["at"].max(axis=1), kind="stable")]], seconds=600)
    return folder


def described(name: str) -> list[str]:
    found = rows(GOLDEN / "v3" / "raw", f"SELECT column_name AS n FROM (DESCRIBE {name})")  # noqa: S608 (ours)
    return [row["n"] for row in found]


def listed() -> Iterator[tuple[str, list[str]]]:
    """The views of the documentation with their columns; a row may begin with those of another."""
    known: dict[str, list[str]] = {}
    for name, _, columns in VIEW.findall(PAGE.read_text(encoding="utf-8")):
        names = NAME.findall(columns)
        if same := re.match(r"as `(\w+)` up to `(\w+)`, ", columns):
            theirs = known[same[1]]
            names = [*theirs[: theirs.index(same[2]) + 1], *names[2:]]
        elif same := re.match(r"as `(\w+)`", columns):
            names = [*known[same[1]]]
        known[name] = names
    yield from known.items()


def test_the_documentation_has_every_column() -> None:
    documented = dict(listed())
    assert [*documented] == [view.name for view in VIEWS]
    for name, columns in documented.items():
        assert columns == described(name), name


def test_the_help_names_every_view() -> None:
    said = CliRunner().invoke(main, ["query", "--help"]).output
    assert [view.name for view in VIEWS if not re.search(rf"\b{view.name}\b", said)] == []


def test_states_with_times_are_those_of_the_json(tmp_path: Path) -> None:
    folder = recorded(
        tmp_path, connections("orderly-active", [5.0]), connections("peer-reset", [6])
    )
    replayed = CliRunner().invoke(main, ["replay", str(folder), "-o", "json"]).stdout.splitlines()
    lines = [json.loads(line) for line in replayed]
    found = rows(folder, "SELECT entered_ms, stayed_ms FROM closes ORDER BY time")
    for row, close in zip(found, [one for one in lines if one["kind"] == "close"], strict=True):
        times = {one["state"].lower(): one["at_ms"] for one in close["states"]}
        entered = {name: ms for name, ms in row["entered_ms"].items() if ms is not None}
        assert entered == pytest.approx(times)
        ends = [*times.values()][1:]
        spans = {name: end - times[name] for name, end in zip(times, ends, strict=False)}
        stayed = {name: ms for name, ms in row["stayed_ms"].items() if ms is not None}
        assert stayed == pytest.approx(spans)


def test_a_time_that_is_unknown_is_null() -> None:
    (row,) = (two := connections("orderly-active", [5.0, 6.0]))[:1]
    row["at"][1] = 0
    table = time_columns(two)
    entered, stayed = (table[name].to_pylist() for name in ("entered_ms", "stayed_ms"))
    assert (entered[0]["established"], entered[1]["established"]) == (None, pytest.approx(1.0))
    assert (stayed[0]["syn_sent"], stayed[0]["established"]) == (None, None)
    assert stayed[0]["fin_wait1"] == stayed[1]["fin_wait1"] is not None
    assert entered[0]["close_wait"] is None


def test_every_state_of_a_connection_is_there() -> None:
    assert {*STATES} == {*State} - {State.LISTEN}


def test_hostile_paths() -> None:
    """Any path, with times in any order: nothing fails, and no time is negative."""
    random = np.random.default_rng(1)
    some = connections("orderly-active", [5.0] * 200)
    some["path"] = random.integers(0, 1 << 32, len(some))
    some["at"] = random.integers(0, 1 << 63, some["at"].shape)
    for column in time_columns(some).values():
        for row in column.to_pylist():
            assert all(ms is None or ms >= 0 for ms in row.values())


def test_mptcp_is_that_of_the_json() -> None:
    flags = [
        0,
        r.MP_CONNECTION,
        r.MP_CONNECTION | r.MP_FASTCLOSE_IN,
        r.MP_CONNECTION | r.MP_FASTCLOSE_OUT,
        r.MP_SUBFLOW,
        r.MP_SUBFLOW | r.MP_JOIN | r.MP_BACKUP | r.MP_WENT_ON,
        r.MP_SUBFLOW | r.MP_FASTCLOSE_OUT,
        r.MP_SUBFLOW | r.MP_FASTCLOSE_OUT | r.MP_FASTCLOSE_IN | r.MP_RESET_SEEN,
        r.MP_FALLBACK,
    ]
    batch = closes(*({"mptcp_flags": each} for each in flags))
    batch.rows["mptcp_token"] = np.arange(len(flags)) + 7
    batch.rows["mptcp_local_id"], batch.rows["mptcp_reset"] = 2, 3
    batch.rows["flags"][6] |= r.F_RST_OUT
    table = closes_table(Memory(batch.rows), batch, CONTEXT.known).to_pylist()
    for row, said in zip(table, mptcp_objects(batch, CONTEXT.names), strict=True):
        mine = {name: row[f"mptcp_{name}"] for name in ("role", "token", "fastclose", "join")}
        mine |= {name: row[f"mptcp_{name}"] for name in ("backup", "connection_went_on")}
        wanted = {name: (said or {}).get(name) for name in mine}
        assert mine == wanted
        assert row["mptcp_reset_reason"] == (said or {}).get("reset_reason")
        assert row["mptcp_subflows"] == (said or {}).get("subflows_total")


def test_deaths(tmp_path: Path) -> None:
    """One pid dies, is another process a while later, and what was left behind takes its time."""
    killed = {"exit_code": SIGKILL, "pid": 77, "comm": b"api"}

    def left(shape: str, ends: list[float], **more: Any) -> NDArray[Any]:
        some = connections(shape, ends, **more)
        some["flags"] |= r.F_EXITING
        return some

    # Its FIN went out at 10 s; the kernel gave up at 300 s.
    slow = left("orderly-active", [300.0], **killed)
    slow["at"][:, 2] = slow["at"][:, 4] - 290 * SECOND
    out_of_memory = left("abort-unread", [20.0], exit_code=SIGKILL, pid=78, comm=b"db")
    out_of_memory["flags"] |= r.F_OOM
    folder = recorded(
        tmp_path,
        slow,
        left("abort-unread", [10.0, 10.1], **killed),
        left("abort-unread", [200.0], **killed),
        left("abort-unread", [30.0], exit_code=3 << 8, pid=79, comm=b"job"),
        out_of_memory,
        connections("abort-unread", [10.0], pid=77, comm=b"api"),
    )
    found = rows(
        folder,
        "SELECT time_ns, pid, comm, how, exit_code, exit_signal, connections, abnormal FROM deaths",
    )
    for row in found:
        row["s"] = (row.pop("time_ns") - WALL) / SECOND
    api = {
        "pid": 77,
        "comm": "api",
        "how": "process-crash",
        "exit_code": None,
        "exit_signal": "SIGKILL",
    }
    assert found == [
        {"s": pytest.approx(10.0), **api, "connections": 3, "abnormal": 2},
        {
            "s": pytest.approx(20.0),
            "pid": 78,
            "comm": "db",
            "how": "oom-kill",
            "exit_code": None,
            "exit_signal": "SIGKILL",
            "connections": 1,
            "abnormal": 1,
        },
        {
            "s": pytest.approx(30.0),
            "pid": 79,
            "comm": "job",
            "how": "process-exit",
            "exit_code": 3,
            "exit_signal": None,
            "connections": 1,
            "abnormal": 1,
        },
        {"s": pytest.approx(200.0), **api, "connections": 1, "abnormal": 1},
    ]


def test_settings_are_spans(tmp_path: Path) -> None:
    folder = recorded(tmp_path, connections("peer-reset", [1.0]))
    (row,) = rows(folder, "FROM settings WHERE name = 'net.ipv4.tcp_fin_timeout'")
    assert (row["netns"], row["value"], row["until"], row["before"]) == (NETNS, 60, None, None)


def test_losses() -> None:
    lost = Lost(5, "the ring buffer", WALL, WALL + SECOND)
    (table,) = losses_tables(Memory(losses=[lost]))
    (row,) = table.to_pylist()
    assert (row["host"], row["records"], row["lost_in"]) == ("web-1", 5, "the ring buffer")
    assert (row["until"] - row["since"]).total_seconds() == 1
