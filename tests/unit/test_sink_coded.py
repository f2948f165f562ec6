# SPDX-License-Identifier: Apache-2.0
"""What few values fill a column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tracetw.sink import coded as module
from tracetw.sink.coded import coded, distinct

RANDOM = np.random.default_rng(1)
KEYS: list[NDArray[Any]] = [
    RANDOM.integers(0, 9, 500),
    np.full(70, 3, np.uint32),
    np.array([7], np.uint64),
    np.array([b"", b"a", b"a\0\0\0\0\0\0\0\0b", b"b"] * 40, "S16"),
    RANDOM.integers(0, 3, (400, 3), np.uint64).view("V24").ravel(),
]


@pytest.mark.parametrize("keys", KEYS)
def test_each_row_finds_its_own_value(keys: NDArray[Any]) -> None:
    some, which = distinct(keys)
    assert len(some) == len(set(keys.tolist()))
    assert keys[some][which].tolist() == keys.tolist()


def test_values_with_the_same_number_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FACTORS", np.zeros(2, np.uint64))
    for keys in KEYS:
        some, which = distinct(keys)
        assert len(some) == len(set(keys.tolist()))
        assert keys[some][which].tolist() == keys.tolist()


def test_a_text_is_made_once_for_each_value() -> None:
    asked = []

    def text(key: bytes) -> bytes:
        asked.append(key)
        return key.upper()

    column = coded(KEYS[3], text)
    assert column.texts[column.which].tolist() == [key.upper() for key in KEYS[3].tolist()]
    assert sorted(asked) == sorted(set(KEYS[3].tolist()))
