# SPDX-License-Identifier: Apache-2.0
"""Who wants to know how far reading has come. One observer at most: the command that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Observer(Protocol):
    """Hears of every file that is opened and every row that is read."""

    def opened(self, files: int, of: int) -> None:
        """So many files were looked through."""

    def found(self, size: int) -> None:
        """All were; their rows have ``size`` bytes in memory."""

    def read(self, size: int) -> None:
        """``size`` bytes of rows were read; they may be read more than once."""


class _Nobody:
    def opened(self, files: int, of: int) -> None:
        pass

    def found(self, size: int) -> None:
        pass

    def read(self, size: int) -> None:
        pass


_nobody = _Nobody()
_current: Observer = _nobody


def observer() -> Observer:
    """The one that there is; one that does nothing otherwise."""
    return _current


@contextmanager
def observed(by: Observer) -> Iterator[None]:
    """``by`` hears of what is read in this block."""
    global _current  # noqa: PLW0603 (one command runs in a process)
    _current = by
    try:
        yield
    finally:
        _current = _nobody
