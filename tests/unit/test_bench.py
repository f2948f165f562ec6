# SPDX-License-Identifier: Apache-2.0
"""What scripts/bench computes from what it measured; the load generator on a small scale."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmark import siblings
from scripts.benchmark.account import (
    Account,
    Output,
    backlog,
    lost_messages,
    not_announced,
    storm_lines,
)
from scripts.benchmark.calibrate import connections_for
from scripts.benchmark.closes import count_closes, read_summary
from scripts.benchmark.errors import BenchError, NotStarted
from scripts.benchmark.machine import CpuTimes, cpu_times
from scripts.benchmark.storm import Load, Storm, parse_load
from scripts.benchmark.tracer import reason
from scripts.benchmark.unpack import find
from scripts.benchmark.usage import memory, sleeps, threads, tree, usage
from scripts.benchmark.web import parse_ab
from tests.kernel.kit.closes import read_closes
from tracetw.sink.summary import summary_text
from tracetw.stream.batch import Summary
from tracetw.stream.loss_places import CLOSES, NOT_ANNOUNCED

NETNS = 4026532345


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


def output(folder: Path) -> Output:
    return Output(folder / "out", folder / "err", folder / "rec")


@pytest.mark.parametrize(
    "address",
    ["127.16.0.1", "127.99.1.2", "127.215.0.9", "127.100.255.1", "…7.215.0.9", "….16.0.9"],
)
def test_clients_of_the_load_are_known_by_their_address(tmp_path: Path, address: str) -> None:
    lines = [f"10:00:00 127.0.0.1:80 < {address}:9", "x127.16.0.1:9 > 127.0.0.1:1"]
    tmp_path.joinpath("out").write_text("\n".join([*lines, "127.0.0.1:80 127.216.0.1:9"]))
    assert storm_lines(tmp_path / "out") == 1


@pytest.mark.parametrize(
    ("rows", "lost", "wrong"),
    [
        (2000, 0, None),
        (1500, 500, None),
        (1500, 600, None),  # others lost some, too
        (1995, 0, None),  # the last few that the kernel kept to itself
        (1990, 0, "1,990 rows and 0 lost are not the 2,000 ends"),
        (2001, 0, "2,001 rows of 2,000 ends: some are reported twice"),
        (2000, None, "no summary at the end"),
        (None, 7, None),
    ],
)
def test_rows_and_losses_are_the_truth(
    rows: int | None, lost: int | None, wrong: str | None
) -> None:
    assert Account(2000, rows, lost).wrong() == wrong


@pytest.mark.parametrize(
    ("at", "count"),
    [
        ({NOT_ANNOUNCED: 1}, 1),
        ({NOT_ANNOUNCED: 1_234}, 1_234),
        ({CLOSES: 5}, 0),
        ({CLOSES: 5, NOT_ANNOUNCED: 3}, 3),
        ({NOT_ANNOUNCED: 2, CLOSES: 5}, 2),
        ({}, 0),
    ],
)
def test_what_the_kernel_announced_to_nobody_is_in_the_summary(
    tmp_path: Path, at: dict[str, int], count: int
) -> None:
    lost = sum(at.values())
    tmp_path.joinpath("out").touch()
    tmp_path.joinpath("err").write_text(summary_text(Summary(0, 1.0, {}, lost, [], lost_at=at)))
    assert not_announced(output(tmp_path)) == count


def test_the_backlog_is_what_the_tracer_says(tmp_path: Path) -> None:
    tmp_path.joinpath("err").write_text("the output was slower: up to 12,345 records waited for it")
    assert backlog(output(tmp_path)) == 12_345
    tmp_path.joinpath("err").write_text("lost: nothing")
    assert backlog(output(tmp_path)) is None


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
    assert reason(output(tmp_path), peer=False) == said


def test_a_peer_may_complain_on_its_output(tmp_path: Path) -> None:
    tmp_path.joinpath("out").write_text("Unable to find kernel headers.\n")
    tmp_path.joinpath("err").write_text("Exception: Failed to compile\n")
    assert reason(output(tmp_path), peer=True) == "Unable to find kernel headers."
    assert reason(output(tmp_path), peer=False) == "Exception: Failed to compile"


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
        assert len(threads(pids)) == 2
        assert all(thread.ran > 0 for thread in threads(pids).values())
        assert sleeps(pids) > 0
    assert len(pids) == 2
    assert 0 < held.resident <= held.peak
    assert not held.compiler
    assert usage([-1]).all == 0


def test_a_process_that_has_ended_has_no_memory() -> None:
    """Nobody has waited for it: /proc has it, without its memory."""
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert memory([ended.pid]).resident == 0
    ended.wait()


def test_the_share_of_others() -> None:
    before, after = CpuTimes(0, 0, 0), CpuTimes(idle=2, used=7, total=10)
    assert after.others(before, own=6) == pytest.approx(0.1)
    assert after.others(before, own=8) == 0
    assert after.others(after, own=0) == 0
    now = cpu_times()
    assert 0 < now.idle + now.used <= now.total


def test_busy_is_what_was_not_idle() -> None:
    before = CpuTimes(idle=10, used=0, total=0, stolen=1, at=100, cpus=2)
    after = CpuTimes(idle=11.5, used=0, total=0, stolen=1.5, at=102, cpus=2)
    assert after.busy(before) == pytest.approx(2 * 2 - 1.5 - 0.5)


def test_work_is_no_faster_while_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it stays behind."""
    monkeypatch.setattr(siblings, "TURNS", 30_000)
    before = tree(os.getpid())
    assert 0.5 < siblings.slowed() < 50
    assert tree(os.getpid()) == before


@pytest.mark.parametrize("rate", [50, 5_000, 140_000, 9_000_000])
def test_rounds_last_long_enough_on_any_machine(rate: float) -> None:
    tried = []

    def run(count: int) -> Load:
        tried.append(count)
        return Load(count, count / rate, 0, 0)

    count = connections_for(4, 10**9, run)
    assert count / rate == pytest.approx(5, rel=0.01)
    assert len(tried) <= 12
    assert sum(tried) / rate < 60
    assert connections_for(4, 3_000, run) <= 3_000


AB = """Concurrency Level:      16
Time taken for tests:   2.500 seconds
Complete requests:      30000
Failed requests:        {failed}
"""


def test_what_ab_says() -> None:
    load = parse_ab(AB.format(failed=0), "98,13.570\n99,25.459\n100,131.614\n", 1.5)
    assert load == Load(30000, 2.5, 1.5, 0, 25.459)
    with pytest.raises(BenchError, match="3 failed"):
        parse_ab(AB.format(failed=3), "99,1.0", 1.5)
    with pytest.raises(BenchError):
        parse_ab("ab: Could not resolve host", "", 0)


def test_a_program_that_cannot_be_had_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotStarted, match=r"^not on PATH: no-such; install some-package$"):
        find({"no-such": "some-package"}, tmp_path)


def test_an_installed_program_is_taken_as_it_is(tmp_path: Path) -> None:
    programs = find({"sh": "dash"}, tmp_path)
    assert Path(programs.paths["sh"]).name == "sh"
    assert list(tmp_path.iterdir()) == []


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
    command = [str(storm.program), "--connections", "10", "--workers", "999"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--workers 999" in refused.stderr
