# SPDX-License-Identifier: Apache-2.0
"""JSON for many rows of few shapes: the constant text of a shape is rendered once.

A document is what ``json.dumps`` would take, except that a leaf may be a ``Slot``: text with
placeholders for values of the row. A shape becomes constant pieces of text with a column between each
two. A column that has one value in all rows of its shape becomes constant text, too. The pieces of all
lines of a batch are laid out as one matrix, column by column, and joined a hundred lines at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.sink.pieces import FORMS, Column, Pieces, Place
from tracetw.sink.remembered import Remembered
from tracetw.text import json_line

_PLACE = re.compile("(%%|" + "|".join(map(re.escape, FORMS)) + ")")
# Below so many rows of a shape, to look for what is constant costs more than it saves.
_MANY = 48
JOINED = 128
"""Lines joined at a time. Those of a whole batch are megabytes: not in the cache when they are written, and each page a fault."""
_TEXTS: Remembered[str, str] = Remembered(lambda value: json_line(value).replace("%", "%%"))


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a document that differs from row to row.

    Attributes:
        form: JSON text with placeholders: those of ``pieces.FORMS``, and ``%%`` for a percent sign.
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


def number_or_null(column: str) -> Slot:
    """An integer, null for what is negative."""
    return Slot("%i", (column,))


def text(column: str) -> Slot:
    """A column of JSON text."""
    return Slot("%s", (column,))


def millis(column: str) -> Slot:
    """A column of nanoseconds, as milliseconds to the microsecond; null for what is negative."""
    return Slot("%m", (column,))


class Template:
    """One shape of line.

    Args:
        document: see above; the line ends with a newline.

    Attributes:
        constants: text before, between and behind the places, one more than there are places.
        places: what stands there: placeholder and name of the column.
        line: all of it, with ``%b`` in the places.
    """

    __slots__ = ("constants", "line", "places")

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
        self.line = b"%b".join(one.replace(b"%", b"%%") for one in self.constants)
        self.places = tuple(zip(forms, columns, strict=True))


def render(
    templates: Sequence[Template], which: NDArray[np.intp], values: Mapping[str, Column]
) -> Iterator[bytes]:
    """The lines of a batch, in the order of its rows, ``JOINED`` of them at a time.

    Args:
        templates: the shapes of the batch, each used by some row.
        which: index in ``templates`` of each row.
        values: name to column; those that no template names are not looked at.
    """
    columns = Pieces(values)
    groups = [np.flatnonzero(which == index) for index in range(len(templates))]
    common, few = [], []
    for template, rows in zip(templates, groups, strict=True):
        if len(rows) < _MANY:
            few.append((rows, _lines(template, columns, rows)))
        else:
            common.append(_folded(template, columns, rows))
    width = max((2 * len(places) + 1 for _, _, places in common), default=1)
    pieces: NDArray[Any] = np.empty((len(which), width), dtype=object)
    for rows, constants, places in common:
        _fill(pieces, rows, constants, [columns.of(place, rows) for place in places])
    for rows, lines in few:
        pieces[rows, 0] = lines
        pieces[rows, 1:] = b""
    for first in range(0, len(which), JOINED):
        yield b"".join(pieces[first : first + JOINED].ravel().tolist())


def _fill(
    pieces: NDArray[Any],
    rows: NDArray[np.intp],
    constants: Sequence[bytes],
    columns: Sequence[NDArray[Any]],
) -> None:
    """Lay out some rows: a constant before each column and one behind."""
    used = len(constants) + len(columns)
    pieces[rows, :used:2] = np.array(constants, object)
    for at, column in enumerate(columns):
        pieces[rows, 2 * at + 1] = column
    if used < pieces.shape[1]:
        pieces[rows, used:] = b""


def _lines(template: Template, columns: Pieces, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Whole lines of few rows."""
    lines = np.empty(len(rows), object)
    each = [columns.each(place, rows) for place in template.places]
    lines[:] = [template.line % values for values in zip(*each, strict=True)]
    return lines


def _folded(
    template: Template, columns: Pieces, rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], Sequence[bytes], Sequence[Place]]:
    """Rows, constants and places of a template: what is the same in all of the rows is constant."""
    constants, places = [template.constants[0]], []
    for place, behind in zip(template.places, template.constants[1:], strict=True):
        text = columns.constant(place, rows)
        if text is None:
            places.append(place)
            constants.append(behind)
        else:
            constants[-1] += text + behind
    return rows, constants, places


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
