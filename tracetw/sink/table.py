# SPDX-License-Identifier: Apache-2.0
"""Lines for people: one per finished connection or event, in columns that never move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from tracetw.sink.cells import Cells, close_cells, event_cells, loss_text
from tracetw.sink.human import clip, endpoint
from tracetw.sink.output import Output
from tracetw.stream.batch import Closes, Context, Events, Loss, Summary

__all__ = ["TableSink"]

_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_DIM = "\x1b[2m"
_COLORS = {"good": "\x1b[32m", "bad": "\x1b[33m", "worst": "\x1b[31m", "odd": "\x1b[35m"}


@dataclass(frozen=True, slots=True)
class _Column:
    """A heading, a width, and whether numbers stand to the right in it."""

    title: str
    width: int
    right: bool = False


# 80 columns: 8 + 17 + 1 + 17 + 12 + 20 and five spaces. 20 is the longest verdict.
_TABLE = (
    _Column("TIME", 8),
    _Column("LOCAL", 17),
    _Column("", 1),
    _Column("REMOTE", 17),
    _Column("PROCESS", 12),
    _Column("VERDICT", 20),
)
_WIDE = (
    _Column("TIME", 12),
    _Column("NETNS", 10, right=True),
    _Column("LOCAL", 21),
    _Column("", 1),
    _Column("REMOTE", 21),
    _Column("ROLE", 6),
    _Column("PROCESS", 23),
    _Column("VERDICT", 26),
    _Column("FORM", 16),
    _Column("BY", 13),
    _Column("LIVED", 7, right=True),
    _Column("SENT", 5, right=True),
    _Column("RECVD", 5, right=True),
    _Column("RETR", 4, right=True),
    _Column("WHY", 3),
)
_VERDICT = {False: 5, True: 7}  # its place among the columns, by wide


class TableSink:
    """Writes lines of text.

    Args:
        out: where to; the heading goes there with the first lines.
        context: what stays the same during the trace.
        wide: everything, on long lines; else 80 columns.
        color: use ANSI colours.
        utc: times in UTC; else in the time zone of this process.
    """

    def __init__(
        self, out: BinaryIO, context: Context, *, wide: bool, color: bool, utc: bool
    ) -> None:
        self._out = Output(out, context.stop)
        self._context = context
        self._wide = wide
        self._color = color
        self._utc = utc
        self._columns = _WIDE if wide else _TABLE
        self._headed = False

    def head(self) -> None:
        """The heading, if it was not written yet."""
        if not self._headed:
            self._headed = True
            line = self._line([column.title for column in self._columns]).rstrip()
            self._write([f"{_BOLD}{line}{_RESET}" if self._color else line])

    def closes(self, batch: Closes) -> None:
        """One line per finished connection."""
        self._lines(close_cells(batch, self._context, wide=self._wide, utc=self._utc))

    def events(self, batch: Events) -> None:
        """One line per single event."""
        self._lines(event_cells(batch, self._context, wide=self._wide, utc=self._utc))

    def loss(self, loss: Loss) -> None:
        """A line that says what is missing here."""
        self.head()
        line = loss_text(loss, utc=self._utc)
        self._write([f"{_COLORS['worst']}{line}{_RESET}" if self._color else line])

    def summary(self, summary: Summary) -> None:
        """Nothing: the summary of a table is text on stderr (``sink.summary``)."""

    def _lines(self, rows: Iterable[Cells]) -> None:
        self.head()
        self._write([self._row(row) for row in rows])

    def _row(self, row: Cells) -> str:
        narrow = not self._wide
        cells = [
            row.time,
            *row.netns,
            endpoint(*row.local, self._columns[1].width if narrow else None),
            row.mark,
            endpoint(*row.remote, self._columns[3].width if narrow else None),
            *row.role,
            row.process,
            row.verdict,
            *row.rest,
        ]
        if not self._color:
            return self._line(cells).rstrip()
        place = _VERDICT[self._wide]
        padded = [*map(self._pad, self._columns, cells)]
        padded[0] = f"{_DIM}{padded[0]}{_RESET}"
        padded[place] = f"{_COLORS[row.tone]}{padded[place]}{_RESET}"
        return " ".join(padded).rstrip()

    def _line(self, cells: Sequence[str]) -> str:
        return " ".join(map(self._pad, self._columns, cells))

    def _pad(self, column: _Column, text: str) -> str:
        if not self._wide:
            text = clip(text, column.width)
        return text.rjust(column.width) if column.right else text.ljust(column.width)

    def _write(self, lines: Sequence[str]) -> None:
        if lines:
            self._out.write("".join(f"{line}\n" for line in lines).encode())
