# SPDX-License-Identifier: Apache-2.0
"""A box that is not finished leaves nothing, and what a killed run left goes with the next one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from scripts.guests.box import work_folder
from scripts.guests.ending import end_in_order
end_in_order()
with work_folder(Path(sys.argv[2])) as name:
    Path(name, "root").mkdir()
    print(name, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_ended_build_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    tmp_path.joinpath(".new-box-killed", "root").mkdir(parents=True)
    tmp_path.joinpath(".new-somebody-else").mkdir()
    words = [sys.executable, "-I", "-c", BUILD, str(ROOT), str(tmp_path)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        made = Path(process.stdout.readline().strip())
        there = {path.name for path in tmp_path.iterdir()}
        process.send_signal(number)
        assert process.wait(10) != 0
    assert there == {made.name, ".new-somebody-else"}
    assert {path.name for path in tmp_path.iterdir()} == {".new-somebody-else"}
