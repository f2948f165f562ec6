# SPDX-License-Identifier: Apache-2.0
"""What follows from measured rounds: means and how certain they are, limits, tables, the page."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.benchmark.account import Account
from scripts.benchmark.bpf import Runs
from scripts.benchmark.errors import BenchError
from scripts.benchmark.idle import Idle, Window
from scripts.benchmark.interval import Interval, of_ratios, of_values
from scripts.benchmark.limits import LIMITS, PREFIX, check
from scripts.benchmark.machine import Machine
from scripts.benchmark.main import TITLES
from scripts.benchmark.measured import BpfCost, Measured, Plan, Round, Side, Tracing
from scripts.benchmark.options import parse
from scripts.benchmark.page import as_json, as_page, commit
from scripts.benchmark.rows import LOADS, ROWS
from scripts.benchmark.storm import Load
from scripts.benchmark.tables import as_text, failures
from scripts.benchmark.usage import Memory, Thread, Usage

ROOT = Path(__file__).parents[2]
PLAN = Plan(rounds=2, connections=100_000)
MACHINE = Machine("2030-01-01", "6.1", "x86_64", "Some CPU", 2, 1.52)
SMALL = Memory(resident=40_000_000, peak=50_000_000, compiler=False)
COST = BpfCost(3, Runs(9_000, 1_000_000), Runs(1_000, 40_000), ends=1_000)


def pair(kept: float, lost: int | None = 0, added_us: float = 0.8, rows: int = 200_000) -> Round:
    """100,000 connections at 50,000/s alone, each 40 us of CPU."""
    alone = Side(Load(100_000, 2.0, 1.0, 0), busy_s=4.0, noise=0.0)
    traced = Side(Load(100_000, 2.0 / kept, 1.0, 0), 4.0 + 2 * added_us / 10, 0.01)
    parts = (Thread("tracetw", 0.05, 0.06), Thread("drain", 0.01, 0.02))
    account = Account(200_000, rows, lost)
    return Round(alone, traced, Tracing(account, Usage(0.05, 0.03), parts, 0.4, SMALL, None, 0.1))


def measured(name: str, *rounds: Round, load: str = "rst", wrong: tuple[str, ...] = ()) -> Measured:
    return Measured(name, load, PLAN, rounds, COST, wrong=wrong)


def verdicts(*rows: Measured | Idle) -> dict[tuple[str, str, str], str]:
    found = check(rows)
    return {(one.limit.row, one.limit.load, one.limit.what): one.verdict for one in found}


def test_the_interval_of_a_mean_is_that_of_student() -> None:
    found = of_values([1, 2, 3, 4, 5])
    assert found.mean == 3
    assert found.low == pytest.approx(3 - 2.776 * 2.5**0.5 / 5**0.5)  # t for 4 degrees, s / sqrt(n)
    assert found.high == pytest.approx(6 - (found.low or 0))
    assert of_values([7]) == Interval(7)


def test_ratios_are_averaged_so_that_a_half_and_a_double_cancel() -> None:
    found = of_ratios([0.5, 2.0])
    assert found.mean == pytest.approx(1)
    assert (found.low or 0) * (found.high or 0) == pytest.approx(1)
    assert of_ratios([0.8]).low is None


def test_a_pair_says_what_tracing_adds_to_an_end() -> None:
    one = pair(0.9, added_us=0.8)
    assert one.kept == pytest.approx(0.9)
    assert one.alone.us == pytest.approx(40)
    assert one.traced.us == pytest.approx(41.6)
    assert one.added_us_per_end == pytest.approx(0.8)
    assert one.user_ns() == pytest.approx(250)
    assert one.system_ns() == pytest.approx(150)


def test_bpf_time_is_net_of_the_counting() -> None:
    assert COST.counted == 1_000
    assert COST.net == 1_000 - 9 * 40
    assert BpfCost(1, Runs(1, 1), Runs(0, 0), 1).net is None


def test_limits_are_checked() -> None:
    found = verdicts(
        measured("tracetw-judge", pair(0.899), pair(0.901)),
        measured("tracetw-json", pair(0.5), pair(0.9), pair(0.66)),
        measured("tracetw-judge", pair(0.97), load="nginx"),
    )
    assert found["judge", "rst", "throughput kept"] == "pass"
    assert found["judge", "rst", "the same: what we aim for"] == "FAIL"
    assert found["judge", "rst", "CPU an end, all together"] == "pass"
    assert found["judge", "rst", "user time an end"] == "pass"
    assert found["judge", "rst", "BPF time an end, net"] == "FAIL"
    assert found["json", "rst", "throughput kept"] == "pass, not certain"
    assert found["json", "rst", "rounds not accounted for"] == "pass"
    assert found["judge", "nginx", "requests/s kept"] == "FAIL"


def test_no_limit_holds_in_a_row_that_does_not_add_up() -> None:
    row = measured("tracetw-json", pair(0.9, rows=199_000), wrong=("1,000 rows are missing",))
    found = {value for key, value in verdicts(row).items() if key[:2] == ("json", "rst")}
    assert found == {"FAIL, the row does not add up"}


def test_the_idle_row_has_limits() -> None:
    windows = (Window(20, 0.02, 20, 0.01), Window(20, 0.02, 22, 0.01))
    idle = Idle("tracetw-json", windows, (0.2, 0.3, 9.0), SMALL)
    found = verdicts(idle)
    assert found["json", "idle", "CPU, idle"] == "pass"
    assert found["json", "idle", "first line after an end"] == "pass"
    assert found["json", "idle", "resident memory, idle"] == "pass"
    busy = Idle("tracetw-json", (Window(20, 0.2, 800, 0.01),), (13.0,), SMALL)
    assert verdicts(busy)["json", "idle", "CPU, idle"] == "FAIL"
    assert verdicts(busy)["json", "idle", "first line after an end"] == "FAIL"


def test_how_soon_a_line_comes_is_a_distribution() -> None:
    idle = Idle("tracetw-table", late_ms=tuple(number / 100 for number in range(201)))
    assert [idle.first_line_ms(percent) for percent in (50, 90, 99)] == pytest.approx(
        [1.0, 1.8, 1.98]
    )


def test_what_was_not_measured_does_not_pass() -> None:
    failed = Measured("tracetw-judge", "rst", PLAN, failed="no")
    assert set(verdicts(failed).values()) == {"not measured"}


def test_an_unknown_loss_is_not_zero() -> None:
    row = measured("tracetw-json", pair(1, lost=None), pair(1))
    assert row.lost is None
    assert verdicts(row)["json", "rst", "records lost"] == "not measured"


def test_what_the_kernel_announced_to_nobody_is_no_loss_of_ours() -> None:
    one = pair(1, lost=3)
    tracing = replace(one.tracing, account=replace(one.tracing.account, not_announced=2))
    row = measured("tracetw-json", replace(one, tracing=tracing), pair(1))
    assert verdicts(row)["json", "rst", "records lost"].startswith("FAIL")
    assert "- tracetw-json: 2 of 3\n" in as_page([row], MACHINE, ROOT, "abc123", TITLES)
    account = replace(one.tracing.account, not_announced=3)
    row = measured("tracetw-json", replace(one, tracing=replace(tracing, account=account)))
    assert verdicts(row)["json", "rst", "records lost"] == "pass"


def test_limits_and_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    rows = {(row.name, load) for row in ROWS for load in row.loads}
    assert {(PREFIX + limit.row, limit.load) for limit in LIMITS} <= rows
    assert {load for row in ROWS for load in row.loads} == set(LOADS) == set(TITLES)


def test_the_report_holds_every_row_and_reason() -> None:
    rows: list[Measured | Idle] = [
        measured("tracetw-judge", pair(0.95), pair(0.95), wrong=("1 row is missing",)),
        Measured("bpftrace", "rst", PLAN, failed="not on PATH"),
        Idle("tracetw-json", (Window(20, 0.02, 20, 0.01),), (0.2,), SMALL),
    ]
    page = as_page(rows, MACHINE, ROOT, "abc123", TITLES)
    for text in (as_text(rows, TITLES.__getitem__), page):
        for part in ("tracetw-judge", "95.0", "not on PATH", "FAILED: 1 row is missing", "0.10"):
            assert part in text
    assert "2030-01-01, Linux 6.1, x86_64, Some CPU, 2 CPUs" in page
    assert "commit\nabc123" in page
    assert "takes 1.52 times the CPU time" in page
    assert "tracetw 300, drain 100" in page
    assert json.loads(as_json(rows, MACHINE))["rows"][1]["failed"] == "not on PATH"
    assert len(failures(rows, "")) == 2


def test_latency_has_columns_only_where_it_was_measured() -> None:
    one = pair(0.95)
    load = Load(100_000, 2.0, 1.0, 0, p99_ms=4.25)
    served = Round(Side(load, 4, 0), Side(load, 4, 0), one.tracing)
    assert "p99" not in as_text([measured("tracetw-judge", one)], TITLES.__getitem__)
    text = as_text([measured("tracetw-judge", served, load="nginx")], TITLES.__getitem__)
    assert "4.25" in text


def test_the_page_is_written_by_a_whole_run_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--write"]).write
    assert parse(["--write"]).seconds >= 4
    assert not parse([]).write
    assert parse(["--write", "--rounds", "9"]).rounds == 9
    for more in (["--quick"], ["--only", "empty"], ["--seconds", "9"], ["--load", "rst"]):
        with pytest.raises(SystemExit):
            parse(["--write", *more])
        assert "only --rounds goes with it" in capsys.readouterr().err


def test_rows_are_chosen_by_name_and_load() -> None:
    asked = parse(["--only", "tracetw-json", "--only", "tcplife", "--load", "nginx", "--quick"])
    assert [row.name for row in asked.rows("nginx")] == ["tracetw-json"]
    assert (asked.rounds, asked.loads) == (1, ("nginx",))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rounds", "0"],
        ["--only", "x"],
        ["--load", "fin"],
        ["--seconds", "1e9"],
        ["--seconds", "x"],
    ],
)
def test_bad_input_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_help_explains_every_row_and_load(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    for row in ROWS:
        assert f"  {row.name} " in text
    for load in LOADS:
        assert f"  {load} " in text


def test_the_page_names_a_commit_that_holds_the_code(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    code = tmp_path / "bpf" / "table.h"
    code.parent.mkdir()
    code.write_text("int a;\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    assert len(commit(tmp_path)) == 12
    code.write_text("int b;\n")
    with pytest.raises(BenchError, match=r"bpf/table\.h differs from the last commit"):
        commit(tmp_path)
