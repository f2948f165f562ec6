# SPDX-License-Identifier: Apache-2.0
"""How long the rings may fill."""

from __future__ import annotations

import pytest

from tracetw.live.pauses import Pauses

ROOM = 13_107


def pause(rate: float, *, room: int = ROOM, rounds: int = 20) -> float:
    """After some rounds in which so many records came a second."""
    now, wait = 0.0, 0.025
    pauses = Pauses(room, now)
    for _ in range(rounds):
        now += wait
        wait = pauses.after(now, int(rate * wait))
    return wait


def test_without_a_record_it_waits_for_the_next() -> None:
    assert Pauses(ROOM, 0.0).after(1.0, 0) == 0


@pytest.mark.parametrize("count", [1, 64])
def test_after_a_few_the_next_line_comes_soon(count: int) -> None:
    assert Pauses(ROOM, 0.0).after(1.0, count) == 0.025


@pytest.mark.parametrize("rate", [150_000, 300_000, 700_000])
def test_a_round_of_a_storm_brings_as_many_as_are_best_judged_at_once(rate: int) -> None:
    assert pause(rate) * rate == pytest.approx(4096, rel=0.01)


def test_it_waits_neither_longer_nor_shorter_than_is_good() -> None:
    assert pause(10_000) == pause(45_000) == 0.035
    assert pause(5_000_000) == 0.005


def test_a_small_ring_does_not_run_over() -> None:
    """All records may come from one CPU."""
    assert pause(150_000, room=6_553) * 150_000 <= 6_553 / 3


def test_a_burst_after_a_rest_is_looked_at_soon() -> None:
    """Nothing came for a second: how fast they come now is not known."""
    pauses = Pauses(ROOM, 0.0)
    assert pauses.after(1.0, 2) == 0.025
    assert pauses.after(1.025, 10_000) == pytest.approx(0.025 * 4096 / 10_000)
