# SPDX-License-Identifier: Apache-2.0
"""The command that runs under the trace."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tracetw.errors import BadInput

_SIGNALLED = 128
_OF_A_TERMINAL = frozenset({signal.SIGINT, signal.SIGQUIT})
# Asked at import: later these have handlers of ours.
_IGNORED = tuple(
    number
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    if signal.getsignal(number) is signal.SIG_IGN
)


class Command:
    """A child process, started when every hook is attached.

    Raises BadInput when the program cannot be started.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._asked = 0
        try:
            with _as_started():
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

    def end(self, signum: int, times: int) -> None:
        """Ask it to end, if it was asked for less often than ``times``; from the second time, make it.

        A terminal sends the signals of its keys to the command as well, which is not to get them twice.
        """
        if times <= self._asked:
            return
        self._asked = times
        if times > 1:
            self._process.kill()
        elif signum not in _OF_A_TERMINAL or not _in_foreground():
            self._process.send_signal(signum)


@contextmanager
def _as_started() -> Iterator[None]:
    """A child made in here ignores what this process was started to ignore, as under nohup(1).

    Tracing handles these signals, and what is handled is no longer ignored after exec.
    """
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _IGNORED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    """Is this process in the group that the terminal sends its signals to?"""
    try:
        with Path("/dev/tty").open() as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
