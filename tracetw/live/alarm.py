# SPDX-License-Identifier: Apache-2.0
"""Wakes a thread that sleeps in poll(2): from a signal handler, or from another thread."""

from __future__ import annotations

import os
from contextlib import suppress

_ALL = 1 << 12


class Alarm:
    """A pipe to itself; ``fd`` is readable from :meth:`ring` to :meth:`clear`."""

    def __init__(self) -> None:
        self.fd, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ring(self) -> None:
        """Wake whoever polls. If the pipe is full, it is readable already."""
        with suppress(BlockingIOError):
            os.write(self._writer, b"1")

    def clear(self) -> None:
        """Empty the pipe."""
        with suppress(BlockingIOError):
            os.read(self.fd, _ALL)

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self.fd)
        os.close(self._writer)
