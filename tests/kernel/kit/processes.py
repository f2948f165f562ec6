# SPDX-License-Identifier: Apache-2.0
"""Processes of their own for what one process cannot show: who owns a socket, and how it dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.kernel.kit.host import PORT

PROGRAM = Path(__file__).with_name("actor.py")
DEATH_DEADLINE_S = 15.0


class Actor:
    """A running ``actor.py`` with ``folder`` as its own, in the namespace of the calling thread.

    ``pid`` and ``comm`` follow the process that answers, also after ``hand_over``.
    """

    def __init__(self, comm: str, folder: Path) -> None:
        assert len(comm.encode()) < 16, "the kernel keeps 15 bytes of a comm"
        self.comm = comm
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(PROGRAM), comm],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
        )
        self.pid = self._process.pid

    def order(self, verb: str, *arguments: object) -> None:
        """Give an order and do not wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, *arguments]).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for the end of the last order and return its value."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.comm} died: {self.wait()}")
        answer = json.loads(line)
        self.pid = answer["pid"]
        if "error" in answer:
            raise OSError(answer["error"])
        return answer["value"]

    def do(self, verb: str, *arguments: object) -> Any:
        """Give an order and wait for its value."""
        self.order(verb, *arguments)
        return self.answer()

    def listen(self, family: int = 4, port: int = PORT) -> None:
        """Listen on every address of the family."""
        self.do("listen", family, port)

    def connect(self, address: str, family: int = 4, port: int = PORT) -> None:
        """Connect to a listener."""
        self.do("connect", family, address, port)

    def hand_over(self, comm: str, *, keep_listener: bool = False) -> None:
        """A forked child named ``comm`` has the sockets from now on; the parent keeps none.

        With ``keep_listener`` both hold the listener.
        """
        self.do("hand_over", comm, *(["listener"] if keep_listener else []))
        self.comm = comm

    def owner(self) -> dict[str, object]:
        """What a line of its connection says of it."""
        return {"pid": self.pid, "comm": self.comm}

    def dumped_core(self) -> bool:
        """Wait for its death by a signal; whether it left a core."""
        died = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        assert died is not None
        assert died.si_code != os.CLD_EXITED, died
        return died.si_code == os.CLD_DUMPED

    def wait(self) -> int:
        """Exit status once dead: as of :attr:`subprocess.Popen.returncode`."""
        return self._process.wait(DEATH_DEADLINE_S)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self.wait()

    def __enter__(self) -> Actor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
