# SPDX-License-Identifier: Apache-2.0
"""The header of a segment with the layout of its rows, both as they were written and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tracetw.event.record import CLOSE, EVENT
from tracetw.recording.convert import FORMAT_VERSION, header_to_current
from tracetw.recording.header import Header
from tracetw.recording.schema import (
    MOST_VALUES,
    HeaderDocument,
    Invalid,
    count_values,
    decode,
    decode_older,
)

__all__ = ["ROWS", "dtypes_to_json", "header_of"]

Dtypes = Mapping[str, np.dtype[np.void]]

ROWS: Dtypes = {"closes": CLOSE, "events": EVENT}
"""Rows of the current version."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_FORMAT = re.compile(r"[<|][iuS][1-9][0-9]?", re.ASCII)
_LARGEST = 4096
_MOST_PLACES = 64


def dtypes_to_json() -> dict[str, Any]:
    """The layout of rows as it is written, in the header."""
    return {name: dtype.descr for name, dtype in ROWS.items()}


def header_of(version: int, data: bytes) -> tuple[Header, Dtypes]:
    """The header of the current version from the JSON of ``version``, and the dtypes as written.

    Raises Invalid.
    """
    if version == FORMAT_VERSION:
        document = decode(data, HeaderDocument)
    else:
        document = _converted(version, data)
    if count_values(document.counters) + count_values(document.sysctls) > MOST_VALUES:
        raise Invalid("it holds too many counters and settings")
    layouts = {"closes": document.dtypes.closes, "events": document.dtypes.events}
    dtypes = {name: _dtype(layout) for name, layout in layouts.items()}
    if version == FORMAT_VERSION and dtypes != ROWS:
        raise Invalid(f"its rows are not those of format {version}")
    return Header.of(version, document), dtypes


def _converted(version: int, data: bytes) -> HeaderDocument:
    """A step may meet anything; what it makes is checked as if it had been written today."""

    def convert(values: dict[str, Any]) -> dict[str, Any]:
        return header_to_current(version, values)

    return decode_older(data, convert, HeaderDocument)


def _dtype(layout: list[Any]) -> np.dtype[np.void]:
    try:
        dtype = np.dtype([_column(*column) for column in layout])
    except (TypeError, ValueError) as error:
        raise Invalid("the layout of its rows is none") from error
    if not 0 < dtype.itemsize <= _LARGEST:
        raise Invalid("the layout of its rows is none")
    return dtype


def _column(name: str, form: str, shape: list[int] | None = None) -> tuple[Any, ...]:
    """One of unsigned or signed numbers, texts, or a row of them. Raises TypeError, ValueError."""
    if not _NAME.fullmatch(name) or not _FORMAT.fullmatch(form):
        raise ValueError(name)
    if shape is None:
        return name, form
    (places,) = shape
    if not 0 < places <= _MOST_PLACES:
        raise ValueError(name)
    return name, form, (places,)
