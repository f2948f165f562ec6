# SPDX-License-Identifier: Apache-2.0
"""JSON for many rows of few shapes: the constant text of a shape is rendered once.

A document is what ``json.dumps`` would take, except that a leaf may be a ``Slot``: text with
placeholders for values of the row. A shape becomes constant pieces of text with a column between each
two. The pieces of all lines of a batch are laid out as one matrix, column by column, and joined once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.sink.remembered import Remembered
from tracetw.text import json_line

__all__ = [
    "Members",
    "Slot",
    "Template",
    "filled",
    "millis",
    "number",
    "render",
    "split_millis",
    "text",
]

Column = Any
"""An array or a list of the batch's length: integers, floats, or text as bytes or str."""

_PLACE = re.compile(r"(%%|%d|%s|%\.1f)")
_SMALL = np.array([b"%d" % value for value in range(1 << 16)], dtype=object)
_FRACTIONS = np.array([b".%03d" % part for part in range(1000)], dtype=object)
_LARGE: Remembered[int, bytes] = Remembered(lambda value: b"%d" % value)
_TEXTS: Remembered[str, str] = Remembered(lambda value: json_line(value).replace("%", "%%"))


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a document that differs from row to row.

    Attributes:
        form: JSON text with placeholders: ``%d``, ``%s``, ``%.1f``, and ``%%`` for a percent sign.
        columns: names of the columns that fill them, in order.
    """

    form: str
    columns: tuple[str, ...]


class Members(tuple[str, ...]):
    """The key of several members whose text, ``"a":1,"b":2``, one slot gives."""

    __slots__ = ()


def number(column: str) -> Slot:
    """An integer."""
    return Slot("%d", (column,))


def text(column: str) -> Slot:
    """A column of strings that are JSON already."""
    return Slot("%s", (column,))


def millis(column: str) -> Slot:
    """Milliseconds to the microsecond: see ``split_millis``."""
    return Slot("%d%s", (f"{column}_ms", f"{column}_us"))


def split_millis(names: Sequence[str], ns: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The columns of ``millis`` for several spans of time.

    Args:
        names: the columns.
        ns: nanoseconds, shape (len(names), n); what is unknown may hold anything.
    """
    whole, rest = np.divmod(ns // 1000, 1000)
    texts = _FRACTIONS[rest]
    split: dict[str, NDArray[Any]] = {}
    for place, name in enumerate(names):
        split[f"{name}_ms"], split[f"{name}_us"] = whole[place], texts[place]
    return split


class Template:
    """One shape of line.

    Args:
        document: see above; the line ends with a newline.

    Attributes:
        constants: text before, between and behind the places, one more than there are places.
        places: what stands there: placeholder and name of the column.
    """

    __slots__ = ("constants", "places")

    def __init__(self, document: Mapping[str, Any]) -> None:
        columns: list[str] = []
        pieces = _PLACE.split(_render(document, columns) + "\n")
        constants, forms = [pieces[0]], []
        for form, constant in zip(pieces[1::2], pieces[2::2], strict=True):
            if form == "%%":
                constants[-1] += "%" + constant
            else:
                forms.append(form)
                constants.append(constant)
        self.constants = tuple(constant.encode() for constant in constants)
        self.places = tuple(zip(forms, columns, strict=True))


def render(
    templates: Sequence[Template], which: NDArray[np.intp], values: Mapping[str, Column]
) -> bytes:
    """The lines of a batch, in the order of its rows.

    Args:
        templates: the shapes of the batch, each used by some row.
        which: index in ``templates`` of each row.
        values: name to column; those that no template names are not looked at.
    """
    width = max(2 * len(template.places) + 1 for template in templates)
    pieces: NDArray[Any] = np.empty((len(which), width), dtype=object)
    made: dict[tuple[str, str], NDArray[Any]] = {}
    for index, template in enumerate(templates):
        rows: Any = slice(None) if len(templates) == 1 else np.flatnonzero(which == index)
        used = 2 * len(template.places) + 1
        pieces[rows, :used:2] = np.array(template.constants, object)
        if used < width:
            pieces[rows, used:] = b""
        for place, key in enumerate(template.places):
            if key not in made:
                made[key] = _FORMAT[key[0]](values[key[1]])
            pieces[rows, 2 * place + 1] = made[key][rows]
    return b"".join(pieces.ravel().tolist())


def _integers(column: Column) -> NDArray[Any]:
    """Decimal text of an integer column."""
    numbers: NDArray[Any] = np.asarray(column)
    if not numbers.min() < 0 and numbers.max() < len(_SMALL):
        small: NDArray[Any] = _SMALL[numbers]
        return small
    return _objects([_LARGE[value] for value in numbers.tolist()])


def _texts(column: Column) -> NDArray[Any]:
    """The column as bytes; a column is bytes or str throughout."""
    if isinstance(column[0], bytes):
        return column if isinstance(column, np.ndarray) else _objects(column)
    # One call for all is three times as fast. Text inside of JSON has no newline.
    return _objects("\n".join(column).encode().split(b"\n"))


def _tenths(column: Column) -> NDArray[Any]:
    return _objects([b"%.1f" % value for value in column])


def _objects(values: list[bytes]) -> NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


_FORMAT: dict[str, Callable[[Column], NDArray[Any]]] = {
    "%d": _integers,
    "%s": _texts,
    "%.1f": _tenths,
}


def filled(document: Any, row: Mapping[str, Any]) -> Any:  # noqa: ANN401 (what JSON can say)
    """The document of one row as Python has it; ``row`` has every column that it needs."""
    if isinstance(document, Slot):
        values = (row[column] for column in document.columns)
        texts = (value.decode() if isinstance(value, bytes) else value for value in values)
        return json.loads(document.form % tuple(texts))
    if isinstance(document, Mapping):
        whole: dict[str, Any] = {}
        for name, item in document.items():
            if isinstance(name, Members):
                whole |= filled(Slot(f"{{{item.form}}}", item.columns), row)
            else:
                whole[name] = filled(item, row)
        return whole
    if isinstance(document, (list, tuple)):
        return [filled(item, row) for item in document]
    return document


def _render(value: object, columns: list[str]) -> str:
    """JSON text in which every ``%`` that is no placeholder is doubled."""
    if isinstance(value, Slot):
        columns.extend(value.columns)
        return value.form
    if isinstance(value, Mapping):
        members = (
            _render(item, columns)
            if isinstance(name, Members)
            else f"{_constant(name)}:{_render(item, columns)}"
            for name, item in value.items()
        )
        return f"{{{','.join(members)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_render(item, columns) for item in value)}]"
    return _constant(value)


def _constant(value: object) -> str:
    return _TEXTS[value] if isinstance(value, str) else json_line(value)
