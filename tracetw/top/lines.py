# SPDX-License-Identifier: Apache-2.0
"""Lines of a screen as text with tones: what shows them decides what a tone looks like."""

from __future__ import annotations

import locale
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracetw.text import clip, columns, padded

Cell = tuple[str, str]
"""A ``visible`` text and its tone: ``good``, ``bad``, ``worst``, ``odd``, ``dim``, ``head``, ``key`` or ``""``."""

Line = tuple[Cell, ...]

_BARS = " ▁▂▃▄▅▆▇█"
_ASCII_BARS = " .:-=+*%#"
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading.
        width: columns of the terminal that it takes at least.
        most: and at most, where there is room.
        right: numbers stand to the right.
        keep: columns with a small number stay longest where there is no room.
    """

    title: str
    width: int
    most: int = 0
    right: bool = False
    keep: int = 0


def fit(wanted: Sequence[Column], width: int) -> list[int]:
    """The width of each column in a line of ``width``; 0 leaves it out.

    One space stands between them. Those that may be dropped first have the largest ``keep``.
    """
    shown = [*range(len(wanted))]
    while len(shown) > 1 and _taken(wanted, shown) > width:
        shown.remove(max(shown, key=lambda at: (wanted[at].keep, at)))
    widths = [0] * len(wanted)
    left = width - _taken(wanted, shown)
    for at in shown:
        widths[at] = wanted[at].width
    if left < 0:
        widths[shown[0]] = max(width, _LEAST)
    for at in shown:
        more = min(max(wanted[at].most - widths[at], 0), max(left, 0))
        widths[at] += more
        left -= more
    return widths


def _taken(wanted: Sequence[Column], shown: Sequence[int]) -> int:
    return sum(wanted[at].width for at in shown) + len(shown) - 1


def row(cells: Sequence[Cell], wanted: Sequence[Column], widths: Sequence[int]) -> Line:
    """A line of a table; texts that are too long are clipped."""
    line: list[Cell] = []
    for (text, tone), column, width in zip(cells, wanted, widths, strict=True):
        if not width:
            continue
        shown = clip(text, width)
        filled = shown.rjust(width) if column.right else padded(shown, width)
        if line:
            line.append((" ", ""))
        line.append((filled, tone))
    return tuple(line)


def plain(line: Line) -> str:
    """Its text alone."""
    return "".join(text for text, _ in line).rstrip()


def whole(line: Line, width: int) -> Line:
    """The line, clipped to ``width`` columns."""
    kept: list[Cell] = []
    left = width
    for text, tone in line:
        if left <= 0:
            break
        shown = clip(text, left)
        kept.append((shown, tone))
        left -= columns(shown)
    return tuple(kept)


def sparkline(counts: NDArray[np.int64], width: int, *, utf8: bool) -> str:
    """One character for each of the last ``width`` counts; only 0 is a space. The highest is full."""
    bars = _BARS if utf8 else _ASCII_BARS
    last = counts[-width:] if width else counts[:0]
    most = int(last.max(initial=0))
    if not most:
        return " " * width
    steps = len(bars) - 1
    height = (last * steps + most - 1) // most
    return "".join(bars[step] for step in height.tolist()).rjust(width)


def speaks_utf8() -> bool:
    """Does the locale say that the terminal shows more than ASCII?"""
    return locale.nl_langinfo(locale.CODESET).upper().replace("-", "") == "UTF8"


def joined(parts: Iterable[Cell], gap: str = "  ") -> Line:
    """Cells with a gap between them."""
    line: list[Cell] = []
    for part in parts:
        if line:
            line.append((gap, ""))
        line.append(part)
    return tuple(line)
