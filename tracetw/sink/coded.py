# SPDX-License-Identifier: Apache-2.0
"""What few values fill a column: found by array arithmetic, so that work is done once for each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORD = 8
# Odd numbers with bits all over (the fractions of square roots).
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], np.uint64)


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of texts that come back.

    Attributes:
        which: index in ``texts`` of each row, shape (n,); negative ones count from the end.
        texts: bytes objects.
    """

    which: NDArray[Any]
    texts: NDArray[Any]


def coded(keys: NDArray[Any], text: Callable[[Any], bytes]) -> Coded:
    """The column with the ``text`` of each key; ``keys`` as ``distinct`` takes them."""
    some, which = distinct(keys)
    texts = np.empty(len(some), object)
    texts[:] = [text(key) for key in keys[some].tolist()]
    return Coded(which, texts)


def distinct(keys: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The different values among ``keys``: a row that has each, and for each row the index of its own.

    Args:
        keys: one at least: integers, or fixed bytes or records whose size is a multiple of 8.
    """
    if keys.dtype.kind in "iu":
        return _of_numbers(keys)
    words = np.ascontiguousarray(keys).view(np.uint64).reshape(len(keys), -1)
    mixed = words[:, 0] * _FACTORS[0]
    for column in range(1, words.shape[1]):
        mixed ^= mixed >> np.uint64(29)
        mixed += words[:, column]
        mixed *= _FACTORS[column & 1]
    some, which = _of_numbers(mixed)
    if (words == words[some[which]]).all():
        return some, which
    # Two values have the same number: one in 2^64 by chance, or by intent.
    numbers: dict[bytes, int] = {}
    raw = words.view(f"V{_WORD * words.shape[1]}").ravel().tolist()
    which = np.array([numbers.setdefault(key, len(numbers)) for key in raw], np.intp)
    return _representatives(which, len(numbers)), which


def _of_numbers(numbers: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if (numbers == numbers[0]).all():
        return np.zeros(1, np.intp), np.zeros(len(numbers), np.intp)
    # To sort and to look up costs a tenth of what return_inverse does.
    values = np.unique(numbers)
    which = np.searchsorted(values, numbers)
    return _representatives(which, len(values)), which


def _representatives(which: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    some = np.zeros(count, np.intp)
    some[which] = np.arange(len(which))
    return some
