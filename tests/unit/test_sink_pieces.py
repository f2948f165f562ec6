# SPDX-License-Identifier: Apache-2.0
"""A value alone has the text that it has in a column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tracetw.sink.coded import Coded
from tracetw.sink.pieces import FORMS, Pieces

NUMBERS = np.array([0, 1, 9, 255, 256, 65_535, 65_536, 999_999, 1_000_000, 1 << 40], np.int64)
SIGNED = np.array([-1, -1_000, 0, 999, 1_000, 16_383_999, 16_384_000, 1 << 50], np.int64)
COLUMNS: dict[str, Any] = {
    "%d": NUMBERS,
    "%i": SIGNED,
    "%q": NUMBERS[NUMBERS < 1 << 16],
    "%s": ["plain", "\N{EURO SIGN}", ""],
    "%.1f": np.array([0.0, 0.04, 0.05, 12.25, 1e9]),
    "%m": SIGNED,
    "%t": NUMBERS,
}


@pytest.mark.parametrize("form", FORMS)
def test_one_value_and_a_column_have_the_same_text(form: str) -> None:
    column = COLUMNS[form]
    rows = np.arange(len(column))
    pieces = Pieces({"it": column})
    assert pieces.each((form, "it"), rows) == pieces.of((form, "it"), rows).tolist()


def test_texts_that_come_back_are_the_same_alone() -> None:
    column = Coded(np.array([1, 0, -1]), np.array([b"a", b"b", b"null"], object))
    assert Pieces({"it": column}).each(("%s", "it"), np.array([0, 2])) == [b"b", b"null"]
