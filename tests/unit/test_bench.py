# SPDX-License-Identifier: Apache-2.0
"""What scripts/bench computes from what it measured; the load generator on a small scale."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmark.bpf import Runs
from scripts.benchmark.closes import count_closes, read_closes, read_summary
from scripts.benchmark.main import parse
from scripts.benchmark.measure import BpfCost, Measured, Plan, Round
from scripts.benchmark.process import CpuTimes, Memory, cpu_seconds, cpu_times, memory, tree
from scripts.benchmark.report import Machine, as_json, as_markdown, as_table
from scripts.benchmark.rows import ROWS, Output, lost_messages, storm_lines
from scripts.benchmark.storm import Load, Storm, parse_load
from scripts.benchmark.targets import TARGETS, check
from scripts.benchmark.tracer import reason

NETNS = 4026532345
PLAN = Plan(rounds=2, connections=1000, mode="rst")
MACHINE = Machine("2030-01-01", "6.1", "x86_64", "Some CPU", 2)
QUIET = Memory(resident=40_000_000, peak=50_000_000, compiler=False)


def close(local: int, remote: int, time: str = "T1", netns: int = NETNS) -> dict[str, Any]:
    return {
        "v": 1,
        "kind": "close",
        "time": time,
        "host": "h",
        "netns": netns,
        "local": {"addr": "127.0.0.1", "port": local},
        "remote": {"addr": "127.0.0.1", "port": remote},
        "verdict": "abort-linger",
    }


SUMMARY: dict[str, Any] = {"v": 1, "kind": "summary", "closes": {}, "lost": 0, "reconciliation": []}


def write(path: Path, *items: dict[str, Any], separators: tuple[str, str] = (",", ":")) -> Path:
    path.write_text("".join(json.dumps(item, separators=separators) + "\n" for item in items))
    return path


def test_both_ends_of_a_connection_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "out", close(1, 2), close(2, 1), close(3, 4, netns=1), SUMMARY)
    found = read_closes(path, NETNS)
    assert found.total() == 2
    assert found.verdicts == {"abort-linger": 2}
    assert (found.repeated, found.unpaired(), found.losses) == ([], [], 0)
    assert found.summary == SUMMARY


def test_an_end_reported_twice_is_found(tmp_path: Path) -> None:
    path = write(
        tmp_path / "out", close(1, 2), close(2, 1), close(1, 2), close(1, 2, "T2"), SUMMARY
    )
    found = read_closes(path, NETNS)
    assert [end[1] for end, _ in found.repeated] == [1]
    assert {end[1] for end in found.unpaired()} == {1, 2}


def test_an_end_not_reported_is_found(tmp_path: Path) -> None:
    found = read_closes(write(tmp_path / "out", close(1, 2), SUMMARY), NETNS)
    assert found.unpaired() == [("127.0.0.1", 1, "127.0.0.1", 2)]


def test_a_loss_is_found(tmp_path: Path) -> None:
    assert read_closes(write(tmp_path / "out", {"kind": "loss"}, SUMMARY), NETNS).losses == 1


def test_nothing_comes_after_the_summary(tmp_path: Path) -> None:
    path = write(tmp_path / "out", SUMMARY, close(1, 2))
    with pytest.raises(ValueError, match="after the summary"):
        read_closes(path, NETNS)
    assert read_summary(path) is None


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_counting_does_not_depend_on_spaces(tmp_path: Path, separators: tuple[str, str]) -> None:
    items = (close(1, 2), close(2, 1), close(3, 4, netns=1), SUMMARY)
    path = write(tmp_path / "out", *items, separators=separators)
    assert count_closes(path, NETNS) == 2
    assert read_summary(path) == SUMMARY


def test_an_empty_output_has_no_summary(tmp_path: Path) -> None:
    assert read_summary(write(tmp_path / "out")) is None


def test_losses_of_a_peer(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("Lost 12 events\n127.16.0.1 80\n10.0.0.1 80\nlost 3 events on CPU #1\n")
    assert lost_messages(path) == 15
    assert storm_lines(path) == 1


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {target.row for target in TARGETS} <= {row.name for row in ROWS}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ERROR: couldn't set RLIMIT_MEMLOCK\nsh: no modprobe\nUnable to find headers\nError: x\n",
         "Unable to find headers"),
        ("first\nlast\n\n", "last"),
        ("", "ended without a message"),
        ("error " + "x" * 300, "error " + "x" * 151 + "..."),
    ],
)  # fmt: skip
def test_why_a_tracer_did_not_start(tmp_path: Path, text: str, said: str) -> None:
    tmp_path.joinpath("err").write_text(text)
    tmp_path.joinpath("out").touch()
    assert reason(Output(tmp_path / "out", tmp_path / "err"), peer=False) == said


def test_a_peer_may_complain_on_its_output(tmp_path: Path) -> None:
    tmp_path.joinpath("out").write_text("Unable to find kernel headers.\n")
    tmp_path.joinpath("err").write_text("Exception: Failed to compile\n")
    output = Output(tmp_path / "out", tmp_path / "err")
    assert reason(output, peer=True) == "Unable to find kernel headers."
    assert reason(output, peer=False) == "Exception: Failed to compile"


def measured(name: str, kept: float, lost: int | None = 0, ns: int = 2_000_000) -> Measured:
    rounds = tuple(Round(rate, rate * kept, lost, 0.5, 0.4, QUIET, 0.01) for rate in (50e3, 60e3))
    return Measured(name, PLAN, rounds, BpfCost(3, Runs(6000, ns), 2000))


def test_targets_are_checked() -> None:
    rows = [measured("tracetw-judge", 0.95), measured("tracetw-json", 0.71, lost=7)]
    results = {(result.target.row, result.target.what): result.verdict for result in check(rows)}
    assert results["tracetw-judge", "throughput kept, all judged, none printed"] == "pass"
    assert results["tracetw-judge", "the same: what we aim for"] == "FAIL"
    assert results["tracetw-judge", "BPF time a connection end"] == "pass"
    assert results["tracetw-json", "throughput kept, full JSON to a file"] == "pass"
    assert results["tracetw-json", "records lost, full JSON"] == "FAIL"
    assert results["tracetw-json", "resident memory"] == "pass"


def test_what_was_not_measured_does_not_pass() -> None:
    rows = [Measured("tracetw-judge", PLAN, failed="no")]
    assert {result.verdict for result in check(rows)} == {"not measured"}


def test_an_unknown_loss_is_not_zero() -> None:
    assert measured("tracetw-json", 1, lost=None).lost is None
    unknown = check([measured("tracetw-json", 1, lost=None)])
    verdicts = {result.target.what: result.verdict for result in unknown}
    assert verdicts["records lost, full JSON"] == "not measured"


def test_the_report_holds_every_row_and_reason() -> None:
    rows = [measured("tracetw-judge", 0.95), Measured("bpftrace", PLAN, failed="not on PATH")]
    for text in (as_table(rows), as_markdown(rows, MACHINE)):
        assert "tracetw-judge" in text
        assert "95.0" in text
        assert "not on PATH" in text
    assert "2030-01-01, Linux 6.1, x86_64, Some CPU, 2 CPUs" in as_markdown(rows, MACHINE)
    assert json.loads(as_json(rows, MACHINE))["rows"][1]["failed"] == "not on PATH"


def test_only_a_whole_run_is_published() -> None:
    assert parse([]).whole
    assert not parse(["--quick"]).whole
    assert not parse(["--only", "empty"]).whole
    assert not parse(["--mode", "rst"]).whole
    quick = parse(["--quick", "--mode", "rst"])
    assert [plan.rounds for plan in quick.plans] == [1]


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--only", "x"], ["--mode", "fin"]])
def test_bad_input_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_processes_are_found_with_their_memory() -> None:
    with subprocess.Popen(
        ["sh", "-c", "cat; :"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(b"\n")
        shell.stdin.flush()
        shell.stdout.read(1)  # cat runs
        pids = tree(shell.pid)
        held = memory(pids)
    assert len(pids) == 2
    assert 0 < held.resident <= held.peak
    assert not held.compiler
    assert cpu_seconds([-1]) == 0


def test_the_share_of_others() -> None:
    before, after = CpuTimes(0, 0, 0), CpuTimes(idle=2, used=7, total=10)
    assert after.others(before, own=6) == pytest.approx(0.1)
    assert after.others(before, own=8) == 0
    assert after.others(after, own=0) == 0
    now = cpu_times()
    assert 0 < now.idle + now.used <= now.total


def test_a_line_of_the_storm() -> None:
    line = '{"connections": 10, "seconds": 0.5, "cpu_seconds": 0.9, "errors": 1, "broken_workers": 1, "rate": 20}'
    load = parse_load(line)
    assert load == Load(10, 0.5, 0.9, 2)
    assert load.rate == 20


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Storm:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler")
    return Storm(tmp_path_factory.mktemp("storm"))


def test_a_small_storm(storm: Storm) -> None:
    command = storm.command(200, "rst", "--workers", "2")
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    load = parse_load(said)
    assert (load.connections, load.errors) == (200, 0)


def test_a_storm_out_of_bounds_is_refused(storm: Storm) -> None:
    command = [str(storm.program), "--connections", "10", "--workers", "99"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--workers 99" in refused.stderr
