# SPDX-License-Identifier: Apache-2.0
"""How much room there is where a table goes."""

from __future__ import annotations

import os
from typing import BinaryIO

_COLUMNS = 80
_MOST = 4096


class Screen:
    """The size of an output, asked each time: a terminal may change its own.

    Args:
        out: where lines go.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._terminal: int | None = None
        try:
            if out.isatty():
                self._terminal = out.fileno()
        except OSError:  # memory: no descriptor
            pass

    def columns(self) -> int:
        """Columns of a line: what ``COLUMNS`` says, else the terminal, else 80; never fewer."""
        wanted = os.environ.get("COLUMNS", "")
        if wanted.isascii() and wanted.isdigit() and len(wanted) < len(str(_MOST)) + 1:
            number = int(wanted)
        else:
            number = self._size()[0]
        return min(max(number, _COLUMNS), _MOST)

    def lines(self) -> int:
        """Lines of the terminal; 0 when there is none, or it does not say."""
        return self._size()[1]

    def _size(self) -> tuple[int, int]:
        if self._terminal is None:
            return 0, 0
        try:
            return os.get_terminal_size(self._terminal)
        except OSError:  # hung up
            return 0, 0
