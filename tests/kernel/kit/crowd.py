# SPDX-License-Identifier: Apache-2.0
"""Many connections in a namespace of their own, and what becomes of them, step by step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tracetw.closing import Closing
from tracetw.lab.net.host import Host

__all__ = ["Crowd"]

PROGRAM = Path(__file__).with_name("crowd_load.py")
# Connections a process: both ends of each, below a hard limit on descriptors of 20,000.
EACH = 9_000


class Crowd(Closing):
    """Processes that hold both ends of ``most`` connections; see ``crowd_load`` for what they can do.

    ``pids`` are the processes, ``netns`` (int) the inode of their namespace.
    """

    def __init__(self, namespace: Host, most: int = EACH) -> None:
        self.netns = namespace.netns
        command = namespace.inside([sys.executable, "-I", str(PROGRAM)])
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(-(-most // EACH))
        ]
        self.pids = [process.pid for process in self._processes]

    def begin(self, command: str, count: int) -> None:
        """Ask for something, in equal parts of all processes; it is under way."""
        each, rest = divmod(count, len(self._processes))
        assert rest == 0
        for process in self._processes:
            assert process.stdin
            process.stdin.write(f"{command} {each}\n")
            process.stdin.flush()

    def end(self) -> None:
        """Wait for what was asked for."""
        for process in self._processes:
            assert process.stdout
            assert process.stdout.readline() == "done\n"

    def do(self, command: str, count: int) -> None:
        """Ask for something and wait until it is done."""
        self.begin(command, count)
        self.end()

    def close(self) -> None:
        """Kill them."""
        for process in self._processes:
            process.kill()
            process.communicate()
