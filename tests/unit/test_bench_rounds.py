# SPDX-License-Identifier: Apache-2.0
"""In which order rounds are made, which are repeated and which count; the runs themselves are made up."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from scripts.benchmark.account import Account
from scripts.benchmark.errors import BenchError
from scripts.benchmark.measured import Measured, Plan, Side, Tracing
from scripts.benchmark.progress import Progress
from scripts.benchmark.rounds import Bench, measure
from scripts.benchmark.rows import ROWS
from scripts.benchmark.storm import Load, Storm
from scripts.benchmark.usage import Memory, Usage
from scripts.benchmark.work import StormWork

JSON = next(row for row in ROWS if row.name == "tracetw-json")
RATE = 1_000


class Runs:
    """What was run, in order; a side is disturbed or slow as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: int | None = None) -> None:
        self.order: list[str] = []
        self.connections: list[int] = []
        self.noise = [0.0] * 100
        monkeypatch.setattr(Bench, "count", lambda _: None)
        monkeypatch.setattr(Bench, "alone", lambda one: self._alone(one))  # noqa: PLW0108 - bound as a method
        monkeypatch.setattr(Bench, "traced", lambda one: self._traced(one))  # noqa: PLW0108 - likewise
        self._rows = rows

    def _side(self, bench: Bench) -> Side:
        count = bench.plan.connections
        return Side(Load(count, count / RATE, 0, 0), 1.0, self.noise.pop(0))

    def _alone(self, bench: Bench) -> Side:
        self.order.append("alone")
        self.connections.append(bench.plan.connections)
        return self._side(bench)

    def _traced(self, bench: Bench) -> tuple[Side, Tracing]:
        self.order.append("traced")
        ends = 2 * bench.plan.connections
        account = Account(ends, ends if self._rows is None else self._rows, 0)
        tracing = Tracing(account, Usage(0, 0), (), 0.1, Memory(1, 1, compiler=False), None, 0)
        return self._side(bench), tracing

    def measure(self, plan: Plan, folder: Path) -> Measured:
        work = StormWork("rst", cast("Storm", None))  # nothing is run
        return measure(JSON, plan, work, folder, Progress(1))


def test_every_second_pair_begins_with_the_tracer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = Runs(monkeypatch)
    runs.measure(Plan(3, 100), tmp_path)
    assert runs.order == ["alone", "traced", "traced", "alone", "alone", "traced"]


def test_a_round_that_others_disturbed_is_repeated_and_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = Runs(monkeypatch)
    runs.noise[:2] = [0.0, 0.3]
    row = runs.measure(Plan(2, 100), tmp_path)
    assert len(runs.order) == 2 * 3
    assert [one.noise for one in row.rounds] == [0, 0]


def test_a_machine_that_is_never_quiet_does_not_go_on_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = Runs(monkeypatch)
    runs.noise = [0.5 - number / 1000 for number in range(100)]
    row = runs.measure(Plan(3, 100, attempts=2), tmp_path)
    assert len(runs.order) == 2 * 3 * 2
    assert len(row.rounds) == 3
    assert max(one.noise for one in row.rounds) < 0.5


def test_a_round_that_was_too_short_is_repeated_with_more_connections(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = Runs(monkeypatch)
    row = runs.measure(Plan(2, 3_500, seconds=4), tmp_path)
    assert runs.connections == [3_500, 4_375, 4_375]
    assert [one.alone.load.seconds for one in row.rounds] == [4.375, 4.375]


def test_a_row_that_does_not_add_up_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = Runs(monkeypatch, rows=100).measure(Plan(1, 100), tmp_path)
    assert row.wrong == ("100 rows and 0 lost are not the 200 ends",)


def test_an_error_costs_one_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = Runs(monkeypatch)

    def fail(_: Bench) -> None:
        raise BenchError("the storm failed")

    monkeypatch.setattr(Bench, "count", fail)
    assert runs.measure(Plan(1, 100), tmp_path).failed == "the storm failed"


def test_an_output_that_does_not_fit_is_not_begun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = Runs(monkeypatch).measure(Plan(1, 10**14), tmp_path)
    assert "set TMPDIR to a folder with more" in (row.failed or "")
