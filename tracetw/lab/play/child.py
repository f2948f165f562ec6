# SPDX-License-Identifier: Apache-2.0
"""A child process that says when it is ready, as tracetw does with ``--ready-fd``."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tracetw import isolated
from tracetw.closing import Closing
from tracetw.errors import CannotTrace
from tracetw.lab.polling import patient, require

__all__ = ["COMMAND", "READY", "READY_DEADLINE_S", "ROOT", "Child", "environment"]

ROOT = Path(__file__).resolve().parents[3]
COMMAND = tuple(isolated.command("tracetw"))
READY = "READY"
READY_DEADLINE_S = 60.0
"""It may have to compile on a machine that others keep busy."""
STOP_DEADLINE_S = 30.0


def environment() -> dict[str, str]:
    """This environment with nothing that changes the output."""
    return {
        name: value
        for name, value in isolated.environment().items()
        if name not in ("NO_COLOR", "COLUMNS")
    }


class Child(Closing):
    """Runs while in its context, and is killed at its end.

    Args:
        words: the command; ``READY`` in it stands for the number of the descriptor that it writes
            a byte to when it is ready.
        errors: file for its standard error, open for reading too; None for one of its own.
        **more: for Popen.

    Attributes:
        process: the child.
        started: when it was, by ``time.monotonic``.
        ready_s: seconds from its start until it was ready; 0 before.
    """

    def __init__(self, words: Sequence[str], *, errors: Path | None = None, **more: Any) -> None:  # noqa: ANN401 (as Popen)
        self.ready_s = 0.0
        self._errors: IO[str] = (
            errors.open("w+") if errors else tempfile.TemporaryFile("w+")  # noqa: SIM115 - close
        )
        self._ready, told = os.pipe()
        self.started = time.monotonic()
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": environment(), **more}
        try:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [str(told) if word == READY else word for word in words],
                stderr=self._errors,
                pass_fds=(told,),
                **options,
            )
        except BaseException:
            self._errors.close()
            os.close(self._ready)
            raise
        finally:
            os.close(told)

    def is_ready(self, wait_s: float) -> bool | None:
        """Has it said so within this time? None if it ended or closed the descriptor instead."""
        # select() takes no descriptor above 1,023, and a lab at work holds that many.
        poll = select.poll()
        poll.register(self._ready, select.POLLIN)
        if not poll.poll(wait_s * 1000):
            return False
        if not os.read(self._ready, 1):
            return None
        self.ready_s = time.monotonic() - self.started
        return True

    def await_ready(self) -> None:
        """Wait until it is ready. Raises CannotTrace, and it is killed, if it does not get there."""
        if not self.is_ready(patient(READY_DEADLINE_S)):
            self.kill()
            raise CannotTrace(
                f"the tracer did not start, exit {self.process.returncode}: {self.said().strip()}"
            )

    def said(self) -> str:
        """What it wrote on standard error so far."""
        self._errors.seek(0)
        return self._errors.read()

    def end(
        self, status: int = 0, number: int = signal.SIGINT, deadline_s: float = STOP_DEADLINE_S
    ) -> str:
        """End it by a signal; what it said. Raises NotPlayed for another exit status."""
        self.process.send_signal(number)
        ended = self.process.wait(patient(deadline_s))
        require(ended == status, f"exit {ended}: {self.said()}")
        return self.said()

    def kill(self) -> None:
        """SIGKILL, and wait, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Kill it if it still runs."""
        self.kill()
        os.close(self._ready)
        self._errors.close()
