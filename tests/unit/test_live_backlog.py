# SPDX-License-Identifier: Apache-2.0
"""What waits between the thread that reads and the one that writes."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.sink_rows import CLOCK, closes
from tracetw.event.fields import end_ns
from tracetw.event.record import CLOSE
from tracetw.host.clock import Clock
from tracetw.live import backlog as waiting
from tracetw.live.backlog import Backlog, Taken, default_bytes
from tracetw.stream.batch import Ends, Loss, ended_ns

SIZE = CLOSE.itemsize


def ends(*at: int) -> Ends:
    rows: NDArray[Any] = closes(*[{}] * len(at)).rows
    rows["at"][:, 4] = at
    return Ends(rows, CLOCK)


def times(backlog: Backlog) -> list[int]:
    batch = backlog.pop()
    assert isinstance(batch, Ends)
    found: list[int] = ended_ns(batch.rows).tolist()
    return found


def test_ends_come_together_in_the_order_of_their_times() -> None:
    backlog = Backlog(1 << 20)
    backlog.put(ends(30, 10))
    backlog.put(ends(20))
    assert (backlog.records, backlog.most) == (3, 3)
    assert times(backlog) == [10, 20, 30]
    assert (backlog.records, backlog.most) == (0, 3)


def test_a_loss_stays_where_it_stands_and_joins_its_like() -> None:
    backlog = Backlog(1 << 20)
    backlog.put(ends(1))
    backlog.put(Loss(2, "ring", 10, 20))
    backlog.put(Loss(3, "ring", 20, 30))
    backlog.put(Loss(1, "elsewhere", 20, 30))
    backlog.put(ends(2))
    backlog.close()
    assert times(backlog) == [1]
    assert backlog.pop() == Loss(5, "ring", 10, 30)
    assert backlog.pop() == Loss(1, "elsewhere", 20, 30)
    assert times(backlog) == [2]
    assert backlog.pop() is None


def test_what_has_another_clock_or_is_known_to_be_gone_stands_alone() -> None:
    backlog = Backlog(1 << 20)
    for _ in range(2):
        batch = ends(1)
        backlog.put(Ends(batch.rows, Clock(5, 0)))
        backlog.put(batch)
        backlog.put(Ends(batch.rows, CLOCK, np.array([True])))
    assert [times(backlog) for _ in range(6)] == [[1]] * 6


def test_what_is_known_of_a_row_goes_with_it() -> None:
    backlog = Backlog(1 << 20)
    backlog.put(Ends(ends(30, 10, 20).rows, CLOCK, np.array([True, False, False])))
    batch = backlog.pop()
    assert isinstance(batch, Ends)
    assert batch.gone is not None
    assert batch.end is not None
    assert batch.gone.tolist() == [False, False, True]
    assert batch.end.tolist() == end_ns(batch.rows).tolist() == [10, 20, 30]


def test_what_came_out_of_the_ring_stays_apart_from_what_was_looked_up() -> None:
    backlog = Backlog(1 << 20)
    for batch in (ends(2), ends(1)):
        backlog.put(Taken(batch.rows, CLOCK))
    backlog.put(ends(3))
    first, second = backlog.pop(), backlog.pop()
    assert (type(first), type(second)) == (Taken, Ends)
    assert isinstance(first, Ends)
    assert ended_ns(first.rows).tolist() == [1, 2]


def test_large_batches_are_not_made_larger() -> None:
    backlog = Backlog(1 << 24)
    for _ in range(3):
        backlog.put(ends(*range(1, 3001)))
    assert [len(times(backlog)) for _ in range(3)] == [3000] * 3


def test_a_batch_of_many_waits_for_the_next() -> None:
    backlog = Backlog(1 << 24)
    backlog.put(ends(*range(100, 200)))
    later = threading.Timer(0.02, backlog.put, [ends(*range(1, 100))])
    later.start()
    assert times(backlog) == [*range(1, 200)]
    later.join()


def test_nothing_is_waited_for_where_a_few_come_or_no_more_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "_MORE_COMES", 3600)
    backlog = Backlog(1 << 24)
    backlog.put(ends(*range(1, 65)))
    assert len(times(backlog)) == 64
    backlog.put(Loss(1, "ring", 1, 2))
    backlog.put(ends(*range(1, 1001)))
    assert isinstance(backlog.pop(), Loss)
    for _ in range(4):
        backlog.put(ends(*range(1, 1001)))
    assert len(times(backlog)) == 4000
    full = Backlog(1000 * SIZE)
    full.put(ends(*range(1, 1002)))
    assert len(times(full)) == 1001
    backlog.close()
    assert len(times(backlog)) == 1000
    assert backlog.pop() is None


def test_what_is_dropped_while_a_batch_waits_does_not_come() -> None:
    backlog = Backlog(1 << 24)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(backlog.pop()))
    backlog.put(ends(*range(1, 101)))
    thread.start()
    backlog.close()
    dropped = backlog.drop()
    thread.join(10)
    assert not thread.is_alive()
    assert found == [None] or (dropped == 0 and found[0] is not None)


def test_it_is_full_by_its_bytes_and_takes_more_when_it_must() -> None:
    backlog = Backlog(10 * SIZE)
    backlog.put(ends(*range(1, 10)))
    assert not backlog.full()
    backlog.put(ends(1, 2))
    assert backlog.full()
    backlog.pop()
    assert not backlog.full()


def test_who_waits_is_woken() -> None:
    backlog = Backlog(1 << 20)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(iter(backlog.pop, None)))
    thread.start()
    backlog.put(ends(1))
    backlog.put(Loss(1, "ring", 1, 2))
    backlog.close()
    thread.join(10)
    assert len(found) == 2


def test_the_default_suits_the_machine() -> None:
    assert 1 << 20 < default_bytes() <= 512 << 20


def test_what_is_dropped_is_counted() -> None:
    backlog = Backlog(1 << 20)
    backlog.put(ends(1, 2))
    backlog.put(Loss(1, "ring", 1, 2))
    backlog.close()
    assert backlog.drop() == 2
    assert backlog.records == 0
    assert backlog.pop() is None


def test_it_rests_when_nothing_comes() -> None:
    backlog = Backlog(1 << 20)
    assert backlog.rests(0.01)
    backlog.put(ends(1))
    assert not backlog.rests(0.01)
    assert times(backlog) == [1]
    late = threading.Timer(0.05, backlog.put, [ends(2)])
    late.start()
    assert not backlog.rests(60)
    late.join()
    assert times(backlog) == [2]
    backlog.close()
    assert not backlog.rests(60)
