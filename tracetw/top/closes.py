# SPDX-License-Identifier: Apache-2.0
"""Screen 1: how connections ended, and what went wrong by owner, verdict and peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.sink.human import share
from tracetw.top.board import Board
from tracetw.top.groups import Shown, shown_key
from tracetw.top.lines import Cell, Column, Line, fit, row, sparkline
from tracetw.top.span import Span, clock_text, span_of, time_text
from tracetw.top.state import Body, ViewState, fits
from tracetw.verdict.taxonomy import VERDICTS

_VERDICTS = (
    Column("VERDICT", 20, 24),
    Column("CLOSES", 8, right=True),
    Column("PER s", 7, right=True, keep=2),
    Column("PART", 6, right=True, keep=1),
    Column("", 20, 120, keep=3),
)
_GROUPS = (
    Column("OWNER", 15, keep=1),
    Column("VERDICT", 20),
    Column("PEER", 18, 47, keep=2),
    Column("CLOSES", 8, right=True, keep=3),
    Column("LAST", 8, keep=4),
)
_SORTS = ("closes", "last", "owner", "verdict", "peer")
_REMEMBERED = 1 << 16
_TONES = {True: "bad", False: "good"}


class GroupTexts:
    """Keys as people read them, by their marks: each is made once."""

    def __init__(self) -> None:
        self._known: dict[int, Shown] = {}

    def of(self, mark: int, key: Any) -> Shown:  # noqa: ANN401 (a record)
        """The text of a key."""
        found = self._known.get(mark)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[mark] = shown_key(key)
        return found

    def text(self, mark: int) -> str:
        """What is known of a key that was shown before."""
        found = self._known.get(mark)
        return found.text if found else ""

    def matching(self, words: str, marks: NDArray[Any], keys: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the keys have all of the words, or not those after ``!``."""
        if not words.split():
            return np.ones(len(marks), np.bool_)
        different, first, which = np.unique(marks, return_index=True, return_inverse=True)
        texts = (self.of(int(marks[at]), keys[at]).text for at in first.tolist())
        fit = np.array([fits(text, words) for text in texts], np.bool_)
        return fit[which] if len(different) else np.zeros(0, np.bool_)


@dataclass(frozen=True, slots=True)
class _Bars:
    """How a sparkline is drawn: characters, stretches of time in one, and from which characters."""

    width: int
    each: int
    utf8: bool


def closes_body(
    board: Board, state: ViewState, names: GroupTexts, size: tuple[int, int], *, utf8: bool
) -> Body:
    """The screen in ``size`` (columns, lines)."""
    width, height = size
    span = span_of(board, state)
    counts = board.slots.between(max(span.since, 0), span.until)
    head = [*_verdicts(counts, span, width, max(height // 3, 3), utf8=utf8), ()]
    cells = board.groups.between(span.since, span.until)
    keep = names.matching(state.filter, cells["mark"], cells["key"])
    cells = cells[keep]
    cells = cells[_order(cells, state, names)]

    def line(at: int) -> tuple[Cell, ...]:
        cell = cells[at]
        shown = names.of(int(cell["mark"]), cell["key"])
        return (
            (shown.owner, ""),
            (shown.verdict, "odd" if shown.verdict == "undetermined" else "bad"),
            (shown.peer, ""),
            (f"{int(cell['count']):,}", ""),
            (time_text(board, int(cell["slot"]) * span.width_ns), "dim"),
        )

    def find(mark: int) -> int | None:
        places = np.flatnonzero(cells["mark"] == np.uint64(mark))
        return int(places[0]) if len(places) else None

    forgotten = board.groups.since
    empty = "nothing ended abnormally in this time"
    if state.filter and not keep.all():
        empty = "nothing that ended abnormally in this time fits the filter"
    if span.since < forgotten:
        since = clock_text(board, forgotten * span.width_ns)
        head[-1] = ((f"groups of before {since} are no longer kept", "odd"),)
    return Body(
        head,
        _GROUPS,
        len(cells),
        line,
        lambda at: int(cells["mark"][at]),
        find,
        _SORTS,
        empty,
    )


def _order(cells: NDArray[Any], state: ViewState, names: GroupTexts) -> NDArray[np.intp]:
    look = state.looks.get("closes")
    sort = _SORTS[look.sort] if look else _SORTS[0]
    key, count, slot = cells["key"], -cells["count"], -cells["slot"]
    ties = (cells["mark"], key["port"], key["verdict"], key["comm"])
    if sort == "closes":
        order = np.lexsort((*ties, slot, count))
    elif sort == "last":
        order = np.lexsort((*ties, count, slot))
    else:
        shown = [
            getattr(names.of(mark, key), sort)
            for mark, key in zip(cells["mark"].tolist(), cells["key"], strict=True)
        ]
        order = np.array(sorted(range(len(shown)), key=shown.__getitem__), np.intp)
    return order[::-1] if look and look.backwards else order


def _verdicts(
    counts: NDArray[np.int64], span: Span, width: int, most: int, *, utf8: bool
) -> Iterator[Line]:
    """The most frequent verdicts; what there is no room for is one line."""
    widths = fit(_VERDICTS, width)
    each = max(-(-len(counts) // widths[-1]), 1) if widths[-1] else 1
    bars = _Bars(widths[-1], each, utf8)
    title = f"BY {_time(each * span.width_ns)}".rjust(bars.width) if bars.width else ""
    yield row([(each.title or title, "head") for each in _VERDICTS], _VERDICTS, widths)
    sums = counts.sum(axis=0)
    total = int(sums.sum())
    order = [at for at in np.argsort(-sums, kind="stable").tolist() if sums[at]]
    shown, rest = (order, []) if len(order) <= most else (order[: most - 1], order[most - 1 :])
    for at in shown:
        verdict = VERDICTS[at]
        tone = "odd" if verdict.code == "undetermined" else _TONES[verdict.abnormal]
        name = (verdict.code, tone)
        yield row(_numbers(name, counts[:, at], total, span, bars), _VERDICTS, widths)
    if rest:
        name = (f"{len(rest)} more verdicts", "")
        several = counts[:, rest].sum(axis=1)
        yield row(_numbers(name, several, total, span, bars), _VERDICTS, widths)
    if not order:
        yield (("nothing to show in this time", "dim"),)


def _numbers(
    name: Cell, counts: NDArray[np.int64], total: int, span: Span, bars: _Bars
) -> tuple[Cell, ...]:
    number = int(counts.sum())
    padding = np.zeros(-len(counts) % bars.each, np.int64)
    steps = np.concatenate([padding, counts]).reshape(-1, bars.each).sum(axis=1)
    return (
        name,
        (f"{number:,}", ""),
        (f"{number / span.seconds:,.1f}", ""),
        (share(number, total), ""),
        (sparkline(steps, bars.width, utf8=bars.utf8), name[1]),
    )


def _time(ns: int) -> str:
    seconds = ns // 1_000_000_000
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"  # noqa: PLR2004
