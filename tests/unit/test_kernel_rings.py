# SPDX-License-Identifier: Apache-2.0
"""Several rings read as one: nothing twice, nothing left, and in the order of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tracetw.kernel.ring import Ring
from tracetw.kernel.rings import Rings
from tracetw.live.collector import _enough as is_enough

ROW = np.dtype([("at", "<i8"), ("ring", "<u8")])


class Source(Ring):
    """The rows of one ring, from memory; ``piece`` are given at once at most."""

    def __init__(self, times: list[int], number: int, piece: int = 1 << 20) -> None:
        self.rows = np.array([(at, number) for at in times], ROW)
        self.rows.flags.writeable = False
        self._piece, self._given = piece, 0
        self.capacity = len(times)

    def pending(self) -> int:
        return len(self.rows)

    def peek(self, most: int = Ring.AT_ONCE) -> NDArray[np.void]:
        self._given = min(most, self._piece, len(self.rows))
        return self.rows[: self._given]

    def keep(self, count: int) -> None:
        self._given = count

    def release(self) -> None:
        self.rows = self.rows[self._given :]
        self._given = 0


def ended(rows: NDArray[Any]) -> NDArray[np.int64]:
    times: NDArray[np.int64] = rows["at"]
    return times


def everything(rings: Rings, most: int = 8) -> list[list[int]]:
    """What each call gave, sorted as the backlog does."""
    found = []
    while len(rows := rings.peek(most)):
        found.append(sorted(rows["at"].tolist()))
        rings.release()
    return found


def test_one_ring_is_read_in_place() -> None:
    ring = Source([1, 2, 3], 0)
    rings = Rings([ring], ended)
    assert rings.peek() is not None
    assert not rings.peek().flags.writeable
    assert everything(rings) == [[1, 2, 3]]


def test_the_only_ring_with_something_is_read_in_place() -> None:
    rings = Rings([Source([], 0), Source([4, 5], 1)], ended)
    assert not rings.peek().flags.writeable
    assert everything(rings) == [[4, 5]]
    assert rings.pending() == 0


def test_an_empty_one() -> None:
    assert everything(Rings([Source([], 0), Source([], 1)], ended)) == []


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
@pytest.mark.parametrize("seed", range(8))
def test_every_row_once_and_in_order(seed: int, piece: int) -> None:
    random = np.random.default_rng(seed)
    owner = random.choice(3, 500, p=[0.7, 0.25, 0.05])
    rings = [Source(np.flatnonzero(owner == number).tolist(), number, piece) for number in range(3)]
    found = everything(Rings(rings, ended), 12)
    assert [at for call in found for at in call] == list(range(500))


def test_times_out_of_order_within_a_ring_hold_nothing_up() -> None:
    """Records leave the kernel nearly in the order of their times."""
    rings = Rings([Source([9, 2, 3, 1, 5, 20, 8], 0), Source([30, 4, 6, 7], 1)], ended)
    assert sorted(at for call in everything(rings, 4) for at in call) == [
        *(1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 30)
    ]


def test_no_more_calls_than_it_says() -> None:
    rings = Rings([Source([*range(0, 40_000, 2)], 0), Source([*range(1, 20_000, 2)], 1)], ended)
    assert len(everything(rings, Ring.AT_ONCE)) <= rings.turns


def test_what_is_kept_back_for_the_order_is_told() -> None:
    """A ring whose last row is old, with more behind it, keeps a fresh row of another one back."""
    rings = Rings([Source([1, 2, 3, 4], 0), Source([9], 1)], ended)
    assert len(rings.peek(4)) == 2
    assert rings.held
    rings.release()
    assert len(rings.peek(8)) == 3
    assert not rings.held


def test_only_after_a_large_look_records_wait_for_the_next_round() -> None:
    looks = [(0, 0), (1, 0), (64, 1), (65, 64), (65, 65)]
    found = [is_enough(Rings([Source([*range(n)], 0)], ended), given) for given, n in looks]
    assert found == [True, False, False, True, False]


def test_what_was_kept_back_does_not_wait() -> None:
    """No row more in the first ring is later than its last: what is held is of this round."""
    rings = Rings([Source([1] * 66, 0), Source([2], 1)], ended)
    given = len(rings.peek(130))
    rings.release()
    assert (given, rings.held, rings.pending()) == (65, True, 2)
    assert not is_enough(rings, given)


def test_what_comes_while_a_ring_is_read_is_for_the_next_call() -> None:
    """Else a later record of the ring that is read last would stand before an earlier one of the first."""
    late = Source([2], 1)

    class First(Source):
        def peek(self, most: int = Ring.AT_ONCE) -> NDArray[np.void]:
            rows = super().peek(most)
            if not self._given_before:
                self._given_before = True
                self.rows = np.append(self.rows, np.array([(3, 0)], ROW))
                late.rows = np.append(late.rows, np.array([(4, 1)], ROW))
            return rows

        _given_before = False

    rings = Rings([First([1], 0), late], ended)
    assert everything(rings) == [[1, 2], [3, 4]]
