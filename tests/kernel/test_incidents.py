# SPDX-License-Identifier: Apache-2.0
"""Incidents whose truth is known: the report must tell it, and nothing else, in JSON, text and page."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tracetw.lab.incidents.catalogue import BY_NAME, INCIDENTS
from tracetw.lab.incidents.record import TRUTH
from tracetw.lab.incidents.run import IncidentOutcome, outcomes
from tracetw.lab.net.reaper import guarded
from tracetw.lab.play.child import COMMAND, environment
from tracetw.lab.polling import eventually, patient

AT_ONCE = 6
AGAIN = 4
"""How often: where the kernel keeps events from programs (README, limits), two of five plays were spoiled."""
NETNS = Path("/run/netns")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, IncidentOutcome]:
    """All of them, several side by side; one that proves nothing plays again, alone."""
    folder = tmp_path_factory.mktemp("incidents")
    with guarded():
        found = {
            each.incident.name: each
            for each in outcomes(INCIDENTS, folder / "first", AT_ONCE, lambda: None)
        }
        for again in range(AGAIN):
            spoiled = [each.incident for each in found.values() if each.spoiled]
            for each in outcomes(spoiled, folder / f"again-{again}", 1, lambda: None):
                found[each.incident.name] = each
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [*BY_NAME])
def test_the_report_tells_the_truth(played: Mapping[str, IncidentOutcome], name: str) -> None:
    outcome = played[name]
    if outcome.skipped is not None:
        pytest.skip(outcome.skipped)
    assert outcome.problems == [], outcome.folder


@pytest.mark.timeout(600)
def test_each_host_has_a_name_and_a_clock_of_its_own(played: Mapping[str, IncidentOutcome]) -> None:
    for outcome in played.values():
        if outcome.skipped is None:
            truth = json.loads((outcome.folder / TRUTH).read_text(encoding="utf-8"))
            assert {*truth["hosts"]} == {*outcome.incident.hosts}
    told = played["idle-timeout-mismatch"].told
    assert {host["name"] for host in told["hosts"]} == {"web-1", "api-1"}
    begun = {host["name"]: host["begin"] for host in told["hosts"]}
    assert begun["api-1"] > begun["web-1"]


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "lab", "incident", *arguments],
        capture_output=True,
        text=True,
        timeout=patient(100),
        env=environment(),
        check=False,
    )


@pytest.mark.timeout(200)
def test_as_a_command(tmp_path: Path) -> None:
    for again in (True, False):
        folder = tmp_path / f"kept-{again}"
        done = lab("deploy-hard", "--keep", str(folder), "-o", "json")
        document = json.loads(done.stdout)
        if not document["spoiled"]:
            break
    assert document["problems"] == []
    assert done.returncode == 0, done.stderr
    assert document["passed"]
    assert "1 incidents, 0 failed, 0 skipped" in done.stderr
    assert document["truth"]["incidents"][0]["reach"]["reset"] >= 12
    kept = folder / "deploy-hard"
    assert {path.name for path in kept.iterdir()} == {"box-1", TRUTH, "page.html"}
    twice = lab("deploy-hard", "--keep", str(folder))
    assert twice.returncode == 2
    assert "there is deploy-hard already" in twice.stderr


@pytest.mark.timeout(60)
def test_stopped_it_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "lab", "incident", "killed", "--keep", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as run:
        eventually(lambda: [*NETNS.glob(f"lab-{run.pid}-*")], what="hosts")
        os.kill(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=patient(40))
    assert b"nothing is left behind" in errors
    assert run.returncode == 1
    assert [*NETNS.glob(f"lab-{run.pid}-*")] == []
