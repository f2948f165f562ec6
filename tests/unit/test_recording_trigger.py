# SPDX-License-Identifier: Apache-2.0
"""Conditions on which the last minutes are kept."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tracetw.errors import BadInput
from tracetw.recorder.trigger import Trigger, Triggers
from tracetw.verdict.taxonomy import VERDICT_INDEX

REST_S = 60.0


def batch(code: str, count: int = 1) -> NDArray[np.uint8]:
    return np.full(count, VERDICT_INDEX[code], np.uint8)


def triggers(*texts: str) -> Triggers:
    return Triggers([Trigger.parse(text) for text in texts], REST_S)


def test_a_verdict_fires_once_and_again_after_a_rest() -> None:
    watched = triggers("verdict:peer-reset")
    assert watched.closes(batch("orderly", 50), 0.0) == []
    assert watched.closes(batch("peer-reset"), 0.1) == ["verdict:peer-reset"]
    assert watched.closes(batch("peer-reset"), 59.0) == []
    assert watched.closes(batch("peer-reset"), 61.0) == ["verdict:peer-reset"]


def test_a_rate_is_that_of_one_second() -> None:
    watched = triggers("rate:abort-linger>10/s")
    assert watched.closes(batch("abort-linger", 10), 0.0) == []
    assert watched.closes(batch("abort-linger", 10), 1.5) == []
    assert watched.closes(batch("abort-linger", 1), 2.0) == ["rate:abort-linger>10/s"]


def test_abnormal_is_any_of_them() -> None:
    watched = triggers("rate:abnormal>2")
    assert watched.closes(np.concatenate([batch("peer-reset", 2), batch("orderly", 9)]), 0) == []
    assert watched.closes(batch("fin-exhausted"), 0.1) == ["rate:abnormal>2"]


def test_a_signal_is_no_verdict() -> None:
    assert triggers("signal").signalled()
    assert triggers("signal").closes(batch("peer-reset"), 0.0) == []
    assert not triggers("verdict:orderly").signalled()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("verdict:peer-rest", "is no verdict"),
        ("verdict:peer-reset>3/s", "is no condition"),
        ("rate:peer-reset", "is no condition"),
        ("rate:peer-reset>-1/s", "is no condition"),
        ("", "is no condition"),
    ],
)
def test_what_is_no_trigger(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Trigger.parse(text)
