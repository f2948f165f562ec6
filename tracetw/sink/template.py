# SPDX-License-Identifier: Apache-2.0
"""JSON for many rows of one shape: the constant text is rendered once, the rest filled in by ``%``.

A document is what ``json.dumps`` would take, except that a leaf may be a ``Slot``: text with
placeholders for values of the row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Slot", "Template", "filled", "millis", "number", "split_millis", "text"]

# As text, since "%03d" takes three times as long as "%s" or "%d".
_FRACTIONS = np.array([f".{part:03d}" for part in range(1000)], dtype=object)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a document that differs from row to row.

    Attributes:
        form: JSON text with ``%`` placeholders.
        columns: names of the columns that fill them, in order.
    """

    form: str
    columns: tuple[str, ...]


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
    """One shape of line, ready to be filled.

    Args:
        document: see above; the line ends with a newline.
        positions: column name to position in the row tuples.
    """

    __slots__ = ("_form", "_pick")

    def __init__(self, document: Mapping[str, Any], positions: Mapping[str, int]) -> None:
        columns: list[str] = []
        self._form = _render(document, columns) + "\n"
        # Every document has several slots: with one, itemgetter would return it bare.
        self._pick: Callable[[tuple[Any, ...]], tuple[Any, ...]] = itemgetter(
            *(positions[column] for column in columns)
        )

    def fill(self, row: tuple[Any, ...]) -> str:
        """The line of one row, a tuple with every column."""
        return self._form % self._pick(row)


def filled(document: Any, row: Mapping[str, Any]) -> Any:  # noqa: ANN401 (what JSON can say)
    """The document of one row as Python has it; ``row`` has every column that it needs."""
    if isinstance(document, Slot):
        return json.loads(document.form % tuple(row[column] for column in document.columns))
    if isinstance(document, Mapping):
        return {name: filled(item, row) for name, item in document.items()}
    if isinstance(document, (list, tuple)):
        return [filled(item, row) for item in document]
    return document


def _render(value: object, columns: list[str]) -> str:
    """JSON text in which every ``%`` that is no placeholder is doubled."""
    if isinstance(value, Slot):
        columns.extend(value.columns)
        return value.form
    if isinstance(value, Mapping):
        members = (f"{_constant(name)}:{_render(item, columns)}" for name, item in value.items())
        return f"{{{','.join(members)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_render(item, columns) for item in value)}]"
    return _constant(value)


def _constant(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("%", "%%")
