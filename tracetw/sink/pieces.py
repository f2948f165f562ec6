# SPDX-License-Identifier: Apache-2.0
"""Columns of values as columns of text: one bytes object a row, ready to be joined.

What comes back often comes from a table made once; bytes objects are never made twice for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.host.clock import rfc3339_all
from tracetw.sink.coded import Coded
from tracetw.sink.remembered import Remembered

__all__ = ["FORMS", "Column", "Pieces", "Place"]

Column = Any
"""Values of all rows of a batch: an array of numbers, ``Coded``, or an array or a list of bytes or str."""

_SMALL = np.array([b"%d" % value for value in range(1 << 16)], dtype=object)
_LARGE: Remembered[int, bytes] = Remembered(lambda value: b"%d" % value)
# Milliseconds in a table: to the microsecond below this many us. Most times of a local or fast network.
_SHORT_US = 1 << 14
_ALL = slice(None)
# As a share of the batch: of fewer rows the column is not made as a whole.
_FEW = 8


Place = tuple[str, str]
"""A placeholder, and the name of the column that fills it."""


class Pieces:
    """The columns of a batch as text, each made when it is first asked for.

    Args:
        columns: name to column; those that nobody asks for are not looked at.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self._made: dict[Place, NDArray[Any]] = {}
        self._constant: dict[Place, bytes | None] = {}

    def of(self, place: Place, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Text of some rows."""
        form, column = FORMS[place[0]], self._columns[place[1]]
        if place in self._made or not isinstance(column, np.ndarray):
            return self._whole(place, rows)
        return form(column[rows]) if _FEW * len(rows) < len(column) else self._whole(place, rows)

    def constant(self, place: Place, rows: NDArray[np.intp]) -> bytes | None:
        """The text that all of some rows have there; None when they differ."""
        if place not in self._constant:
            self._constant[place] = self._same(place, _ALL)
        text = self._constant[place]
        return self._same(place, rows) if text is None else text

    def _whole(self, place: Place, rows: NDArray[np.intp] | slice) -> NDArray[Any]:
        if place not in self._made:
            self._made[place] = FORMS[place[0]](self._columns[place[1]])
        chosen: NDArray[Any] = self._made[place][rows]
        return chosen

    def _same(self, place: Place, rows: NDArray[np.intp] | slice) -> bytes | None:
        form, name = place
        column = self._columns[name]
        if isinstance(column, Coded):
            which = column.which[rows]
            text: bytes | None = column.texts[which[0]]
            return text if (which == which[0]).all() else None
        if isinstance(column, np.ndarray) and column.dtype != object:
            values = column[rows]
            return _ONE[form, values.item(0)] if (values == values[0]).all() else None
        texts = self._whole(place, rows).tolist()
        text = texts[0]
        return text if texts.count(text) == len(texts) else None


def _integers_or_null(column: Column) -> NDArray[Any]:
    """Decimal text; null for what is negative."""
    known = column >= 0
    made = _integers(np.where(known, column, 0))
    made[~known] = b"null"
    return made


@cache
def _pairs() -> NDArray[Any]:
    octets = [b"%d" % value for value in range(256)]
    return np.array([high + b"." + low for high in octets for low in octets], dtype=object)


def _octets(column: Column) -> NDArray[Any]:
    """16 bits as the two octets of an address."""
    made: NDArray[Any] = _pairs()[column]
    return made


def _integers(column: Column) -> NDArray[Any]:
    """Decimal text."""
    numbers: NDArray[Any] = np.asarray(column)
    if not numbers.min() < 0 and numbers.max() < len(_SMALL):
        small: NDArray[Any] = _SMALL[numbers]
        return small
    return _objects([_LARGE[value] for value in numbers.tolist()])


@cache
def _short() -> NDArray[Any]:
    return np.array([b"%d.%03d" % divmod(us, 1000) for us in range(_SHORT_US)], dtype=object)


def _millis(column: Column) -> NDArray[Any]:
    """Nanoseconds as milliseconds to the microsecond: what is less is cut off; null for what is negative."""
    us: NDArray[np.int64] = column // 1000
    short = (us >= 0) & (us < _SHORT_US)
    if short.all():
        made: NDArray[Any] = _short()[us]
        return made
    made = _short()[np.where(short, us, 0)]
    long = np.flatnonzero(~short)
    made[long] = [
        b"%d.%03d" % divmod(value, 1000) if value >= 0 else b"null" for value in us[long].tolist()
    ]
    return made


def _times(column: Column) -> NDArray[Any]:
    """Wall time, nanoseconds since 1970."""
    return _objects(rfc3339_all(column))


def _texts(column: Column) -> NDArray[Any]:
    if isinstance(column, Coded):
        made: NDArray[Any] = column.texts[column.which]
        return made
    if isinstance(column[0], str):  # a column is bytes or str throughout
        return _objects([text.encode() for text in column])
    return column if isinstance(column, np.ndarray) else _objects(column)


def _tenths(column: Column) -> NDArray[Any]:
    return _objects([b"%.1f" % value for value in column.tolist()])


def _objects(values: list[bytes]) -> NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


FORMS: dict[str, Callable[[Column], NDArray[Any]]] = {
    "%d": _integers,
    "%i": _integers_or_null,
    "%q": _octets,
    "%s": _texts,
    "%.1f": _tenths,
    "%m": _millis,
    "%t": _times,
}
"""Placeholders, and what makes text of the column of each."""

_ONE: Remembered[tuple[str, Any], bytes] = Remembered(
    lambda key: FORMS[key[0]](np.array([key[1]]))[0]
)
