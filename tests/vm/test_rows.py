# SPDX-License-Identifier: Apache-2.0
"""Every row of vagrant/boxes.yaml boots, shows what a guest should have, and traces.

Continuous integration asks one, which does not trace: its rows do for the tests that they are given, and
tests/kernel/test_row.py among these says whether they have what they list.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.guests.rows import Row, distributions, rows
from scripts.guests.survey import complaints, document
from tests.vm.guest import ROOT, vm

pytestmark = pytest.mark.timeout(1800)

CI = os.environ.get("CI") == "true"
VIRTUAL = [row for row in rows() if row.virtual]
ROWS = [row for row in VIRTUAL if row.ci][:1] if CI else VIRTUAL
traces = pytest.mark.skipif(CI, reason="scripts/vm matrix --ci asks the same of all its rows")
PROBE = "tests/vm/probe.sh"
MARK = 'it\'s "quoted" $HOME'


@dataclass(frozen=True)
class Probed:
    row: Row
    done: subprocess.CompletedProcess[str]
    said: dict[str, str]
    results: Path
    when: float


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def probed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Probed:
    row: Row = request.param
    results = tmp_path_factory.mktemp("results")
    options = ["--timeout", "600", "--results", str(results)]
    done = vm("run", *options, row.name, "--", "sh", PROBE, MARK)
    public = distributions()[row.distribution].mirror
    if done.returncode == 3 and f"cannot be had from {public}:" in done.stderr:
        # What a user named, or the host's own apt has, must be there: scripts/guests/distribution.py.
        pytest.skip(done.stderr.splitlines()[-1])
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert "mark" in said, done.stdout + done.stderr
    return Probed(row, done, said, results, time.time())


def test_status_and_output_come_through(probed: Probed) -> None:
    assert probed.done.returncode == 7, probed.done.stderr
    assert probed.said["mark"] == MARK
    assert probed.said["here"] == str(ROOT)
    assert "to the standard error" in probed.done.stderr.splitlines()
    assert "to the standard error" not in probed.done.stdout


def test_it_is_another_kernel_and_says_how_it_runs(probed: Probed) -> None:
    release = probed.said["release"]
    assert f"vm: {probed.row.name}: booting {release} (" in probed.done.stderr
    emulated = f"{release} (tcg)" in probed.done.stderr
    usual = 8 if emulated else 1
    assert float(probed.said["patience"]) == float(os.environ.get("TRACETW_PATIENCE", usual))
    if emulated:
        assert probed.said["avx"] == "0", "see scripts/guests/architecture.py"


def test_there_is_no_network_but_loopback(probed: Probed) -> None:
    assert probed.said["interfaces"] == "lo"
    assert "127.0.0.1/8" in probed.said["loopback"]


def test_the_host_is_read_only(probed: Probed) -> None:
    assert probed.said["root_of_host"] == "written"
    assert not Path("/written-in-a-guest").exists()
    assert not ROOT.joinpath("written-in-a-guest").exists()


def test_it_has_what_a_system_has(probed: Probed) -> None:
    assert {"proc", "sysfs", "devtmpfs", "cgroup2", "tracefs", "bpf", "devpts", "tmpfs"} <= set(
        probed.said["mounts"].split()
    )
    assert abs(int(probed.said["clock"]) - probed.when) < 600
    assert probed.said["cache"] == "700 0"
    assert int(probed.said["ignored"], 16) == 0, "signals"
    assert (probed.said["veth"], probed.said["nft"]) == ("made", "made")
    assert probed.said["pipe"] == "read"


@traces
def test_it_sees_what_its_row_says(probed: Probed) -> None:
    found = json.loads(probed.results.joinpath("doctor.json").read_text())
    assert found["kernel"] == probed.said["release"]
    now = document(probed.row.name, "", "", found["capabilities"])
    assert [line for line in complaints(probed.row, now) if "must have" in line] == []


@traces
def test_it_traces(probed: Probed) -> None:
    summary = json.loads(probed.results.joinpath("summary.json").read_text())
    assert (summary["kind"], summary["lost"]) == ("summary", 0)
