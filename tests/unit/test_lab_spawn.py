# SPDX-License-Identifier: Apache-2.0
"""Programs that a lab starts, and the Ctrl-C of its terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

# Of a process group of its own, which gets SIGINT all the time; says how the programs ended.
LAB = """
import signal, sys
from tracetw.lab.net.spawn import run
signal.signal(signal.SIGINT, lambda *_: None)
print("ready", flush=True)
print({run(["true"])[0] for _ in range(200)})
"""


def test_a_terminals_ctrl_c_does_not_reach_what_the_lab_starts() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LAB], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as lab:
        assert lab.stdout
        assert lab.stdout.readline() == "ready\n"
        while lab.poll() is None:
            os.killpg(lab.pid, signal.SIGINT)
        assert lab.stdout.read() == "{0}\n"
