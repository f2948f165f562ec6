# SPDX-License-Identifier: Apache-2.0
"""A batch is judged as its rows are one by one, whatever was judged before."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.sink_rows import NAMES
from tracetw.event.record import CLOSE
from tracetw.verdict import judge as judging
from tracetw.verdict.judge import judge
from tracetw.verdict.outcome import outcomes
from tracetw.verdict.signature import signatures

COLUMNS = ("verdict", "form", "evidence", "missing", "first_close", "closed_by", "time_wait")
# More than are looked at together, and no multiple of that.
MANY = 10_007


def invented(seed: int, count: int) -> NDArray[np.void]:
    """Rows of any bits, half of them with few bits set: most of their comparisons are with 0."""
    random = np.random.default_rng(seed)
    raw = random.integers(0, 256, (count, CLOSE.itemsize), np.uint8)
    for _ in range(3):
        raw[::2] &= random.integers(0, 256, raw[::2].shape, np.uint8)
    return raw.reshape(-1).view(CLOSE)


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of outcomes is empty, and as it was afterwards."""
    monkeypatch.setattr(judging, "_known", judging._known)
    judging._known = judging._remember(np.zeros(1, np.uint64), outcomes(np.zeros(1, np.uint64)))


@pytest.mark.parametrize("seed", range(3))
def test_signatures_do_not_depend_on_the_batch(seed: int) -> None:
    rows = invented(seed, MANY)
    gone = np.arange(MANY) % 3 == 0
    together = signatures(rows, NAMES, gone)
    for size in (1, 7, 4096):
        some = slice(4000, 4000 + 3 * size)
        parts = [
            signatures(rows[some][at : at + size], NAMES, gone[some][at : at + size])
            for at in range(0, 3 * size, size)
        ]
        assert (np.concatenate(parts) == together[some]).all()


def test_rows_need_not_lie_side_by_side() -> None:
    """As those of a ring, each behind a header."""
    rows = invented(4, 3000)
    apart = np.zeros(3000, np.dtype([("header", "<u8"), ("record", CLOSE)]))
    apart["record"] = rows
    apart.flags.writeable = False
    assert (signatures(apart["record"], NAMES, None) == signatures(rows, NAMES, None)).all()
    assert (signatures(rows[::-2], NAMES, None) == signatures(rows, NAMES, None)[::-2]).all()


@pytest.mark.usefixtures("nothing_known")
@pytest.mark.parametrize("seed", range(3))
def test_what_is_remembered_is_what_the_rules_say(seed: int) -> None:
    """Thousands of signatures, of which many have the same hash."""
    rows = invented(seed, MANY)
    wanted = outcomes(signatures(rows, NAMES, None))
    for _ in range(2):
        found = judge(rows, NAMES, lossy=False)
        for name in COLUMNS:
            assert (getattr(found, name) == wanted[name]).all(), name
    backwards = judge(rows[::-1], NAMES, lossy=False)
    assert (backwards.verdict[::-1] == wanted["verdict"]).all()


@pytest.mark.usefixtures("nothing_known")
def test_a_flood_of_signatures_does_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_KEEP", 500)
    for seed in range(20):
        rows = invented(seed, 400)
        wanted = outcomes(signatures(rows, NAMES, None))
        assert (judge(rows, NAMES, lossy=False).evidence == wanted["evidence"]).all()
        assert len(judging._known.words) <= 500
