# SPDX-License-Identifier: Apache-2.0
"""Processes of their own for what one process cannot show: who owns a socket, and how it dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tracetw.closing import Closing
from tracetw.lab.net.host import PORT
from tracetw.lab.net.spawn import popen
from tracetw.lab.polling import NotPlayed, eventually, patient, require

__all__ = ["PROGRAM", "Actor"]

PROGRAM = (sys.executable, "-S", "-I", str(Path(__file__).with_name("actor.py")))
DEATH_DEADLINE_S = 15.0
COMM_LEN = 16
STOPPED = "T"


class Actor(Closing):
    """A running ``actor.py`` with ``folder`` as its own, in the namespace of the calling thread.

    ``pid`` and ``comm`` follow the process that answers, also after ``hand_over``. Another ``program``
    (its words, without the name) may run in its place that takes orders the same way.
    """

    def __init__(self, comm: str, folder: Path, program: Sequence[str] = PROGRAM) -> None:
        require(len(comm.encode()) < COMM_LEN, f"comm {comm} is too long for the kernel")
        self.comm = comm
        self._process = popen(
            [*program, comm],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
        )
        # Popen types them as optional; with PIPE they are there.
        self._orders, self._answers = self._process.stdin, self._process.stdout
        self.pid = self._process.pid

    def order(self, verb: str, *arguments: object) -> None:
        """Give an order and do not wait for its end."""
        if self._orders is not None:
            self._orders.write(json.dumps([verb, *arguments]).encode() + b"\n")
            self._orders.flush()

    def answer(self) -> Any:  # noqa: ANN401 (JSON)
        """Wait for the end of the last order and return its value."""
        line = self._line()
        if not line:
            raise NotPlayed(f"{self.comm} died: {self.wait()}")
        answer = json.loads(line)
        self.pid = answer["pid"]
        if "error" in answer:
            raise OSError(answer["error"])
        return answer["value"]

    def _line(self) -> bytes:
        return self._answers.readline() if self._answers else b""

    def do(self, verb: str, *arguments: object) -> Any:  # noqa: ANN401 (JSON)
        """Give an order and wait for its value."""
        self.order(verb, *arguments)
        return self.answer()

    def listen(self, family: int = 4, port: int = PORT) -> None:
        """Listen on every address of the family."""
        self.do("listen", family, port)

    def connect(self, address: str, family: int = 4, port: int = PORT, protocol: int = 0) -> None:
        """Connect to a listener."""
        self.do("connect", family, address, port, protocol)

    def hand_over(self, comm: str, *, keep_listener: bool = False) -> None:
        """A forked child named ``comm`` has the sockets from now on; the parent keeps none.

        With ``keep_listener`` both hold the listener.
        """
        self.do("hand_over", comm, *(["listener"] if keep_listener else []))
        self.comm = comm

    def leave(self, comm: str) -> None:
        """As :meth:`hand_over`, but the parent exits at once; it has exited when this returns."""
        self.do("leave", comm)
        self.comm = comm
        self.wait()

    def become(self, comm: str) -> None:
        """Run another program in its place, whose name is ``comm``; it takes no orders."""
        self.order("become", comm)

    def owner(self) -> dict[str, object]:
        """What a line of its connection says of it."""
        return {"pid": self.pid, "comm": self.comm}

    def dumped_core(self) -> bool:
        """Wait for its death by a signal; whether it left a core."""
        died = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        if died is None or died.si_code == os.CLD_EXITED:
            raise NotPlayed(f"{self.comm} did not die of a signal: {died}")
        return died.si_code == os.CLD_DUMPED

    def freeze(self) -> None:
        """It runs no more, as if its machine had no time for it; its kernel goes on."""
        os.kill(self.pid, signal.SIGSTOP)
        eventually(lambda: self._state() == STOPPED, what=f"{self.comm} stands still")

    def thaw(self) -> None:
        """It runs again, and knows nothing."""
        os.kill(self.pid, signal.SIGCONT)

    def _state(self) -> str:
        """Letter of proc_pid_stat(5), behind the name, which may hold anything."""
        return Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b") ")[2][:1].decode()

    def wait(self) -> int:
        """Exit status once dead: as of :attr:`subprocess.Popen.returncode`."""
        return self._process.wait(patient(DEATH_DEADLINE_S))

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self.wait()

    def close(self) -> None:
        """Kill it, and let go of its pipes."""
        self.kill()
        for stream in (self._orders, self._answers):
            if stream is not None:
                with suppress(BrokenPipeError):  # an order that it did not live to read
                    stream.close()
