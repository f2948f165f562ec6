# SPDX-License-Identifier: Apache-2.0
"""``replay -o json`` prints what ``trace -o json`` printed, byte for byte, with losses."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmark.storm import Storm
from tracetw.lab.net.host import Host
from tracetw.lab.play.child import COMMAND, READY, ROOT, Child, environment
from tracetw.lab.polling import eventually, patient

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

READY_S = 60.0
END_S = 120.0
# More than the ring, the backlog and a batch hold while the sinks stand still.
MANY = 60_000
FEW = 500
BUFFER = 1 << 20
STALL_S = "0.7"


def traced(folder: Path, lines: Path, storm: Storm, namespace: Host) -> str:
    """Storms under a tracer with two sinks that stand still; what it said."""
    program = [sys.executable, "-m", "tests.kernel.kit.tee"]
    words = [*program, str(folder), READY, str(BUFFER), STALL_S]
    with lines.open("wb") as out, Child(words, stdout=out, cwd=ROOT) as tracer:
        tracer.await_ready()
        for _ in range(2):
            storm.run(namespace, FEW, "rst")
            storm.run(namespace, MANY, "rst")
        eventually(lambda: b'"kind":"loss"' in lines.read_bytes(), 30.0)
        storm.run(namespace, FEW, "timewait")
        return tracer.end(deadline_s=END_S)


def kinds(text: bytes) -> list[str]:
    return [json.loads(line)["kind"] for line in text.splitlines()]


def test_replay_prints_what_trace_printed(storm: Storm, namespace: Host, tmp_path: Path) -> None:
    folder, lines = tmp_path / "rec", tmp_path / "lines"
    said = traced(folder, lines, storm, namespace)
    assert "records lost" in said or "lost: " in said
    printed = lines.read_bytes()
    replayed = subprocess.run(
        [*COMMAND, "replay", str(folder), "-o", "json"],
        env=environment(),
        capture_output=True,
        timeout=patient(END_S),
        check=True,
    ).stdout
    found = [json.loads(line) for line in printed.splitlines()]
    weakened = sum(one.get("confidence") == "weakened" for one in found)
    closes = sum(one["kind"] == "close" for one in found)
    assert "loss" in {one["kind"] for one in found}
    assert 0 < weakened < closes, "some are weakened, not all"
    times = [
        datetime.fromisoformat(f"{one['time'][:26]}+00:00")
        for one in found
        if one["kind"] == "close"
    ]
    late = max(latest - at for latest, at in zip(accumulate(times, max), times, strict=True))
    assert late.total_seconds() < patient(1.5), "as the README says"
    summary: dict[str, Any] = found[-1]
    assert summary["kind"] == "summary"
    assert summary["lost"] == sum(one["records"] for one in found if one["kind"] == "loss") > 0
    assert kinds(replayed) == kinds(printed)
    for ours, theirs in zip(replayed.splitlines(), printed.splitlines(), strict=True):
        assert ours == theirs
