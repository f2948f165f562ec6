# SPDX-License-Identifier: Apache-2.0
"""Rows as columns of small numbers, which compress well, and back. Lossless for any row.

``at`` of a close
    ``at_end``, the last time that is known, and ``step_0`` to ``step_6``: nanoseconds between a
    state and the one before it whose time is known; null where the time is unknown. The first known
    one has step 0.
sequence numbers
    ``unsent`` = ``write_seq - snd_nxt``, ``unacked`` = ``snd_nxt - snd_una`` and ``unread`` =
    ``rcv_nxt - copied_seq``, modulo 2**32 and signed, stand for ``snd_nxt``, ``snd_una`` and
    ``copied_seq``.
``born`` of an event
    ``age`` = ``at - born``; null where ``born`` is unknown.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Column: TypeAlias = "NDArray[Any] | np.ma.MaskedArray[Any, Any]"
"""Shape (n,); masked where null."""
Columns: TypeAlias = dict[str, Column]

# Name of the difference, field that stays, field that it stands for.
_DIFFERENCES = (
    ("unsent", "write_seq", "snd_nxt"),
    ("unacked", "snd_nxt", "snd_una"),
    ("unread", "rcv_nxt", "copied_seq"),
)
_REPLACED = {field: name for name, _, field in _DIFFERENCES}
_AGE = "born"


def columns(rows: NDArray[np.void]) -> Columns:
    """The columns of rows, contiguous."""
    result: Columns = {}
    names = rows.dtype.names or ()
    for name in names:
        kept = rows[name]
        if kept.ndim == 1 and kept.dtype.kind in "iu" and not (name in _REPLACED or name == _AGE):
            result[name] = np.ascontiguousarray(kept)
        elif kept.dtype.itemsize > 1 and kept.dtype.kind == "S":
            result[name] = np.ascontiguousarray(kept).view(f"V{kept.dtype.itemsize}")
        elif kept.ndim == 2 and kept.dtype == np.uint8:  # noqa: PLR2004  an address
            result[name] = np.ascontiguousarray(kept).view(f"V{kept.shape[1]}").reshape(-1)
        elif kept.ndim == 2:  # noqa: PLR2004
            result |= _steps(name, kept)
    for name, stays, field in _DIFFERENCES:
        if field in names:
            result[name] = (rows[stays] - rows[field]).astype("<i4")
    if _AGE in names:
        born = rows[_AGE]
        result["age"] = np.ma.masked_array((rows["at"] - born).astype("<i8"), born == 0)
    return result


def rows(columns: Columns, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """The rows of all columns. Raises KeyError for a column that is not there."""
    some = next(iter(columns.values()))
    result: NDArray[np.void] = np.empty(len(some), dtype)
    for name in dtype.names or ():
        field = dtype[name]
        if name in _REPLACED or name == _AGE:
            continue
        if field.subdtype is not None and field.base != np.uint8:
            _from_steps(name, columns, result[name])
        elif field.subdtype is not None:
            result[name] = columns[name].view("u1").reshape(len(result), -1)
        elif field.kind == "S":
            result[name] = columns[name].view(field)
        else:
            result[name] = columns[name]
    for name, stays, replaced in _DIFFERENCES:
        if replaced in (dtype.names or ()):
            result[replaced] = result[stays] - columns[name].view("<u4")
    if _AGE in (dtype.names or ()):
        age = np.ma.asarray(columns["age"])
        born = result["at"] - age.filled(0).view("<u8")
        result[_AGE] = np.where(np.ma.getmaskarray(age), 0, born)
    return result


def _steps(name: str, times: NDArray[np.uint64]) -> Columns:
    found: Columns = {}
    last = np.zeros(len(times), "<u8")
    for place in range(times.shape[1]):
        time = times[:, place]
        step = np.where(last == 0, 0, time - last).astype("<i8")
        found[f"step_{place}"] = np.ma.masked_array(step, time == 0)
        last = np.where(time == 0, last, time)
    return {f"{name}_end": last, **found}


def _from_steps(name: str, columns: Columns, times: NDArray[np.uint64]) -> None:
    time = np.array(columns[f"{name}_end"], "<u8")
    for place in range(times.shape[1] - 1, -1, -1):
        step = np.ma.asarray(columns[f"step_{place}"])
        unknown = np.ma.getmaskarray(step)
        times[:, place] = np.where(unknown, 0, time)
        time -= step.filled(0).view("<u8")
