# SPDX-License-Identifier: Apache-2.0
"""How far reading a large recording has come: one line on a terminal's stderr, and nothing elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from tracetw.recording.progress import observed

_AFTER_S = 0.5
_EVERY_S = 0.1
_MB = 1_000_000
_ERASE = "\r\033[K\033[?25h"


class Progress:
    """A bar that appears when there is something to wait for, and is erased when it is over.

    Args:
        shown: False where a line would stand in the way, as among lines on the same terminal.
    """

    def __init__(self, *, shown: bool = True) -> None:
        terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._shown = shown and terminal
        self._due = time.monotonic() + _AFTER_S
        self._bar: Any = None
        self._bytes = self._total = 0

    def opened(self, files: int, of: int) -> None:
        """So many files were looked through."""
        if self._is_due():
            self._show(files, of, f"looking through {of:,} files")

    def found(self, size: int) -> None:
        """Rows of ``size`` bytes are read from now on, perhaps more than once."""
        self.pause()
        self._bytes, self._total = 0, size

    def read(self, size: int) -> None:
        """So many of them were read."""
        self._bytes += size
        if not self._total or not self._is_due():
            return
        passes = max(self._bytes - 1, 0) // self._total
        done = self._bytes - passes * self._total
        again = f", pass {passes + 1}" if passes else ""
        text = f"{done // _MB:,} of {self._total // _MB:,} MB read{again}"
        self._show(done, self._total, text)

    def pause(self) -> None:
        """Erase the bar: something else is to be printed."""
        if self._bar is not None:
            self._bar = None
            with suppress(OSError):
                sys.stderr.write(_ERASE)
                sys.stderr.flush()

    def _is_due(self) -> bool:
        if not self._shown or time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + _EVERY_S
        return True

    def _show(self, position: int, length: int, label: str) -> None:
        with suppress(OSError):
            if self._bar is None or self._bar.length != length or self._bar.pos > position:
                self._bar = click.progressbar(length=length, file=sys.stderr, width=24)
            self._bar.label = label
            self._bar.update(position - self._bar.pos)
            self._bar.render_progress()


@contextmanager
def progress(*, shown: bool = True) -> Iterator[Progress]:
    """A bar for all recordings that are read in this block."""
    bar = Progress(shown=shown)
    try:
        with observed(bar):
            yield bar
    finally:
        bar.pause()
