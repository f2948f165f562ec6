# SPDX-License-Identifier: Apache-2.0
"""NumPy columns as Arrow arrays: numbers with nulls, and texts that are made once for each different value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.count import keys
from tracetw.report.count.cube import group
from tracetw.text import well_formed
from tracetw.verdict.findings import UNKNOWN

_ADDRESS = np.dtype([("hi", "<u8"), ("lo", "<u8")])
_MS = 1_000_000


def dictionary(codes: NDArray[Any], texts: Iterable[str | None]) -> Any:  # noqa: ANN401
    """Codes into a list of texts; None and codes beyond it are null."""
    import pyarrow as pa  # noqa: PLC0415

    values = list(texts)
    place = np.full(max(len(values), int(codes.max(initial=0)) + 1), -1, np.int32)
    kept: list[str] = []
    for code, text in enumerate(values):
        if text is not None:
            place[code] = len(kept)
            kept.append(well_formed(text))
    indexes = place[codes]
    return pa.DictionaryArray.from_arrays(
        pa.array(indexes, mask=indexes < 0), pa.array(kept, pa.string())
    )


def listed(texts: Sequence[str | None], codes: NDArray[np.uint8]) -> Any:  # noqa: ANN401
    """The text of each code; ``UNKNOWN`` and codes beyond the list are null."""
    return dictionary(np.minimum(codes, UNKNOWN), texts)


def texts(values: NDArray[Any], text: Callable[[Any], str | None]) -> Any:  # noqa: ANN401
    """The text of each different value."""
    import pyarrow as pa  # noqa: PLC0415

    if len(values) and (values == values[0]).all():
        return dictionary(np.zeros(len(values), np.int32), [text(values[0].item())])
    if values.dtype.kind in "iu":  # by hashing, not by sorting
        encoded = pa.array(values).dictionary_encode()
        which, different = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    else:
        unique, which = np.unique(values, return_inverse=True)
        different = unique.tolist()
    return dictionary(which, [text(value) for value in different])


def constant(text: str, count: int) -> Any:  # noqa: ANN401
    """One text ``count`` times."""
    return dictionary(np.zeros(count, np.int32), [text])


def nothing(count: int, type_: str) -> Any:  # noqa: ANN401
    """Nulls of a type by its name in Arrow, or of ``text``."""
    import pyarrow as pa  # noqa: PLC0415

    if type_ == "text":
        return dictionary(np.zeros(count, np.int32), [None])
    return pa.nulls(count, pa.type_for_alias(type_))


def addresses(
    rows: NDArray[Any], column: str, name: Callable[[str], str | None] | None = None
) -> Any:  # noqa: ANN401
    """``laddr`` or ``raddr`` as text, or the ``name`` of that text."""
    both = np.zeros(len(rows), _ADDRESS)
    both["hi"], both["lo"] = keys.addresses(rows, column)
    groups = group(both)
    shown = [
        keys.address(high, low) if high or low else None
        for high, low in both[groups.firsts].tolist()
    ]
    if name is not None:
        shown = [None if text is None else name(text) for text in shown]
    return dictionary(groups.inverse(), shown)


def numbers(values: NDArray[Any], known: NDArray[np.bool_]) -> Any:  # noqa: ANN401
    """Null where not known."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.array(values, mask=~known)


def milliseconds(nanoseconds: NDArray[np.int64]) -> Any:  # noqa: ANN401
    """Null where negative."""
    return numbers(nanoseconds / _MS, nanoseconds >= 0)


def struct(members: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """One column of several Arrow arrays: ``column.name`` in SQL."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.StructArray.from_arrays([*members.values()], [*members])
