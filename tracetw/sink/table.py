# SPDX-License-Identifier: Apache-2.0
"""Lines for people: one per finished connection or event, in columns that never move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from numpy.typing import NDArray

from tracetw.sink.cells import Cells, close_cells, event_cells, loss_text
from tracetw.sink.layout import Layout, narrow, wide
from tracetw.sink.output import Output
from tracetw.sink.screen import Screen
from tracetw.stream.batch import Closes, Context, Events, Loss, Summary

_RESET = "\x1b[0m"
_COLORS = {"good": "\x1b[32m", "bad": "\x1b[33m", "worst": "\x1b[31m", "odd": "\x1b[35m"}
# Repeat the heading so many lines before a screen is full: one stays in sight.
_SPARE = 2


class TableSink:
    """Writes lines of text, as wide as the terminal; elsewhere 80 columns, or what COLUMNS says.

    The heading comes again when the columns change (the terminal was resized, a second network namespace
    appeared) and, on a terminal, with each screenful.

    Args:
        out: where to; the heading goes there with the first lines.
        context: what stays the same during the trace.
        wide: everything, on long lines.
        color: use ANSI colours.
        utc: times in UTC; else in the time zone of this process.
    """

    def __init__(
        self, out: BinaryIO, context: Context, *, wide: bool, color: bool, utc: bool
    ) -> None:
        self._out = Output(out, context.stop)
        self._screen = Screen(out)
        self._context = context
        self._wide = wide
        self._color = color
        self._utc = utc
        self._netns = 0
        self._several = False
        self._layout: Layout | None = None
        self._form = ""
        self._since = 0
        """lines since the heading"""

    def head(self) -> None:
        """The heading, on a terminal; elsewhere it waits for the first lines and their columns."""
        if self._screen.lines():
            self._write_heading()

    def closes(self, batch: Closes) -> None:
        """One line per finished connection."""
        self._namespaces(batch.rows["netns"])
        self._lines(lambda layout: close_cells(batch, self._context, layout, utc=self._utc))

    def events(self, batch: Events) -> None:
        """One line per single event."""
        self._namespaces(batch.rows["netns"])
        self._lines(lambda layout: event_cells(batch, self._context, layout, utc=self._utc))

    def loss(self, loss: Loss) -> None:
        """A line that says what is missing here."""
        lines: list[str] = []
        self._arrange(lines)
        line = loss_text(loss, utc=self._utc)
        lines.append(f"{_COLORS['worst']}{line}{_RESET}" if self._color else line)
        self._since += 1
        self._write(lines)

    def summary(self, summary: Summary) -> None:  # noqa: ARG002 (as every sink)
        """The heading of an empty table. The summary itself is text on stderr (``sink.summary``)."""
        if self._layout is None:
            self._write_heading()

    def _write_heading(self) -> None:
        lines: list[str] = []
        self._arrange(lines)
        self._write(lines)

    def _namespaces(self, inodes: NDArray[Any]) -> None:
        """Has a second namespace appeared?"""
        known = inodes[inodes != 0]
        if self._wide or self._several or not len(known):
            return
        self._netns = self._netns or int(known[0])
        self._several = bool((known != self._netns).any())

    def _arrange(self, lines: list[str]) -> Layout:
        """The layout of the moment; a new one begins with its heading."""
        layout = wide() if self._wide else narrow(self._screen.columns(), namespaces=self._several)
        if layout != self._layout:
            self._layout = layout
            self._form = layout.form(color=self._color)
            self._heading(layout, lines)
        return layout

    def _heading(self, layout: Layout, lines: list[str]) -> None:
        lines.append(layout.heading(color=self._color))
        self._since = 0

    def _lines(self, cells: Callable[[Layout], Cells]) -> None:
        lines: list[str] = []
        layout = self._arrange(lines)
        rows = self._rows(cells(layout))
        screenful = self._screen.lines() - _SPARE
        if screenful <= 0:
            lines += rows
        else:
            for row in rows:
                if self._since >= screenful:
                    self._heading(layout, lines)
                lines.append(row)
                self._since += 1
        self._write(lines)

    def _rows(self, cells: Cells) -> Iterator[str]:
        if self._color:
            colors = [_COLORS[tone] for tone in cells.tones]
            columns = zip(*cells.before, colors, cells.verdict, *cells.rest, strict=True)
            return map(self._form.__mod__, columns)
        columns = zip(*cells.before, cells.verdict, *cells.rest, strict=True)
        return map(str.rstrip, map(self._form.__mod__, columns))

    def _write(self, lines: list[str]) -> None:
        if lines:
            lines.append("")
            self._out.write("\n".join(lines).encode())
