# SPDX-License-Identifier: Apache-2.0
"""Columns of values as columns of text: one bytes object a row, ready to be joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracetw.host.clock import rfc3339, rfc3339_all
from tracetw.sink.coded import Coded
from tracetw.sink.remembered import Remembered

Column = Any
"""Values of all rows of a batch: an array of numbers, ``Coded``, or an array or a list of bytes or str."""

_ALL = slice(None)
# As a share of the batch: of fewer rows the column is not made as a whole.
_FEW = 8


class _Table:
    """Texts of the numbers from 0 up to a size, each made when it first comes."""

    def __init__(self, size: int, text: Callable[[int], bytes]) -> None:
        self.size = size
        self._text = text
        self._texts: NDArray[Any] = np.empty(size, object)
        self._known = np.zeros(size, np.bool_)

    def __getitem__(self, numbers: NDArray[Any]) -> NDArray[Any]:
        known = self._known[numbers]
        if not known.all():
            new = np.unique(numbers[~known])
            self._texts[new] = [self._text(number) for number in new.tolist()]
            self._known[new] = True
        texts: NDArray[Any] = self._texts[numbers]
        return texts


def _integer(value: int) -> bytes:
    """Decimal text."""
    return b"%d" % value


def _integer_or_null(value: int) -> bytes:
    """Decimal text; null for what is negative."""
    return b"null" if value < 0 else b"%d" % value


def _two_octets(value: int) -> bytes:
    """16 bits as the two octets of an address."""
    return b"%d.%d" % divmod(value, 256)


def _thousandths(value: int) -> bytes:
    return b"%d.%03d" % divmod(value, 1000)


def _milli(value: int) -> bytes:
    """Nanoseconds as milliseconds to the microsecond: what is less is cut off; null for what is negative."""
    return b"null" if value < 0 else _thousandths(value // 1000)


def _time(value: int) -> bytes:
    """Wall time, nanoseconds since 1970."""
    return rfc3339(value).encode()


def _text(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _tenth(value: float) -> bytes:
    return b"%.1f" % value


_LARGE: Remembered[int, bytes] = Remembered(_integer)
_SMALL = _Table(1 << 16, _integer)
_PAIRS = _Table(1 << 16, _two_octets)
# Most times of a local or fast network, in us.
_SHORT = _Table(1 << 14, _thousandths)

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
        column = self._columns[place[1]]
        if place in self._made or not isinstance(column, np.ndarray):
            return self._whole(place, rows)
        if _FEW * len(rows) < len(column):
            return FORMS[place[0]].many(column[rows])
        return self._whole(place, rows)

    def each(self, place: Place, rows: NDArray[np.intp]) -> list[bytes]:
        """Text of few rows: array arithmetic costs more there than it saves."""
        one, column = FORMS[place[0]].one, self._columns[place[1]]
        if isinstance(column, Coded):
            texts: list[bytes] = column.texts[column.which[rows]].tolist()
            return texts
        if isinstance(column, np.ndarray):
            return [one(value) for value in column[rows].tolist()]
        return [one(column[at]) for at in rows.tolist()]

    def constant(self, place: Place, rows: NDArray[np.intp]) -> bytes | None:
        """The text that all of some rows have there; None when they differ."""
        if place not in self._constant:
            self._constant[place] = self._same(place, _ALL)
        text = self._constant[place]
        return self._same(place, rows) if text is None else text

    def _whole(self, place: Place, rows: NDArray[np.intp] | slice) -> NDArray[Any]:
        if place not in self._made:
            self._made[place] = FORMS[place[0]].many(self._columns[place[1]])
        chosen: NDArray[Any] = self._made[place][rows]
        return chosen

    def _same(self, place: Place, rows: NDArray[np.intp] | slice) -> bytes | None:
        form, name = place
        column = self._columns[name]
        if isinstance(column, Coded):
            which = _all_same(column.which, rows)
            text: bytes | None = None if which is None else column.texts[which]
            return text
        if isinstance(column, np.ndarray) and column.dtype != object:
            value = _all_same(column, rows)
            return None if value is None else FORMS[form].one(value)
        texts = self._whole(place, rows).tolist()
        text = texts[0]
        return text if texts.count(text) == len(texts) else None


def _all_same(column: NDArray[Any], rows: NDArray[np.intp] | slice) -> Any:  # noqa: ANN401
    """The number that all of some rows have, of which there is one at least; None when they differ."""
    first, last = (0, -1) if isinstance(rows, slice) else (rows[0], rows[-1])
    value = column.item(first)
    # Most columns that differ do so here, and then nothing is copied.
    if column.item(last) != value or (column[rows] != value).any():
        return None
    return value


def _integers_or_null(column: Column) -> NDArray[Any]:
    known = column >= 0
    made = _integers(np.where(known, column, 0))
    made[~known] = b"null"
    return made


def _octets(column: Column) -> NDArray[Any]:
    return _PAIRS[column]


def _integers(column: Column) -> NDArray[Any]:
    numbers: NDArray[Any] = np.asarray(column)
    if not numbers.min() < 0 and numbers.max() < _SMALL.size:
        return _SMALL[numbers]
    return _objects([_LARGE[value] for value in numbers.tolist()])


def _millis(column: Column) -> NDArray[Any]:
    us: NDArray[np.int64] = column // 1000
    short = (us >= 0) & (us < _SHORT.size)
    if short.all():
        return _SHORT[us]
    made = _SHORT[np.where(short, us, 0)]
    long = np.flatnonzero(~short)
    made[long] = [_thousandths(one) if one >= 0 else b"null" for one in us[long].tolist()]
    return made


def _times(column: Column) -> NDArray[Any]:
    return _objects(rfc3339_all(column))


def _texts(column: Column) -> NDArray[Any]:
    if isinstance(column, Coded):
        made: NDArray[Any] = column.texts[column.which]
        return made
    if isinstance(column[0], str):  # a column is bytes or str throughout
        return _objects([*map(_text, column)])
    return column if isinstance(column, np.ndarray) else _objects(column)


def _tenths(column: Column) -> NDArray[Any]:
    return _objects([*map(_tenth, column.tolist())])


def _objects(values: list[bytes]) -> NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


class _Form(NamedTuple):
    """Makes text of one value, and of a column of them the same text for each."""

    one: Callable[[Any], bytes]
    many: Callable[[Column], NDArray[Any]]


FORMS = {
    "%d": _Form(_integer, _integers),
    "%i": _Form(_integer_or_null, _integers_or_null),
    "%q": _Form(_two_octets, _octets),
    "%s": _Form(_text, _texts),
    "%.1f": _Form(_tenth, _tenths),
    "%m": _Form(_milli, _millis),
    "%t": _Form(_time, _times),
}
"""Placeholders, and what makes text of the column of each."""
