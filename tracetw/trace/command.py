# SPDX-License-Identifier: Apache-2.0
"""The command that runs under the trace."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from tracetw.errors import BadInput

__all__ = ["Command"]

_SIGNALLED = 128


class Command:
    """A child process, started when every hook is attached.

    Raises BadInput when the program cannot be started.
    """

    def __init__(self, words: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(words)
        except OSError as error:
            raise BadInput(
                f"cannot run {words[0]}: {error.strerror}", "give a program after --"
            ) from error

    def ended(self) -> bool:
        """Has it ended?"""
        return self._process.poll() is not None

    def status(self) -> int:
        """Its exit status, 128 + N for signal N, as a shell gives it. Waits for the end."""
        code = self._process.wait()
        return code if code >= 0 else _SIGNALLED - code

    def interrupt(self, signum: int) -> None:
        """Pass a signal on, if it still runs."""
        if not self.ended():
            self._process.send_signal(signum)
