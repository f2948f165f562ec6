# SPDX-License-Identifier: Apache-2.0
"""What the reader makes of the tables and the ring, each a file of the kernel's layout."""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.sink_rows import NAMES
from tracetw.event.record import AT_CLOSED, CLOSE, F_CLOSED, F_DEAD, End, Owner, Stat
from tracetw.kernel.load import session
from tracetw.kernel.load.session import Session
from tracetw.kernel.plan import CPUS, LISTENER_ENDS_PAGES, Plan, Sizes
from tracetw.live.source import LostCount, Source

PAGE = mmap.PAGESIZE
SLOTS = 64
SIZES = Sizes(conn_slots=SLOTS, closed_slots=SLOTS, timewait_slots=SLOTS, closes_pages=8)
SECOND = 1_000_000_000
# FIN_WAIT2 after ESTABLISHED and FIN_WAIT1; CLOSE after ESTABLISHED.
ABORTED, ORPHANED = 0x17, 0x145


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class Kernel:
    """The maps of a session, and what the programs would do with them."""

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}
        self.ring = self._map("closes", (2 + 2 * SIZES.closes_pages) * PAGE)
        self.closed = np.frombuffer(self._map("closed", SLOTS * CLOSE.itemsize), CLOSE, SLOTS)
        self.keys = np.frombuffer(self._map("closed_keys", SLOTS * 8), "<u8", SLOTS)
        self.timewaits = np.frombuffer(self._map("timewaits", SLOTS * CLOSE.itemsize), CLOSE, SLOTS)
        self.tw_keys = np.frombuffer(self._map("tw_keys", SLOTS * 8), "<u8", SLOTS)
        self.reported = np.frombuffer(self._map("closed_reported", SLOTS * 8), "<u8", SLOTS)
        self.timewaits_reported = np.frombuffer(self._map("tw_reported", SLOTS * 8), "<u8", SLOTS)
        self.awaits_rst = np.frombuffer(self._map("awaits_rst", CPUS * CLOSE.itemsize), CLOSE, CPUS)
        self._map("bell", 4 * PAGE)
        self._map("listener_ends", (2 + 2 * LISTENER_ENDS_PAGES) * PAGE)
        self._map("asleep", 8)
        self._map("polling", 8)
        stats = self._map("stats", CPUS * Stat.MAX * 8)
        self.stats = np.frombuffer(stats, "<u8", CPUS * Stat.MAX).reshape(CPUS, Stat.MAX)
        self._sent = 0

    def _map(self, name: str, size: int) -> mmap.mmap:
        size = -(-size // PAGE) * PAGE
        fd = os.memfd_create(name)
        os.ftruncate(fd, size)
        self._fds[f"map:{name}"] = fd
        return mmap.mmap(fd, size)

    def session(self) -> Session:
        plan = Plan((), (), {}, 0, "", (), NAMES, SIZES, frozenset())
        return Session(plan, self._fds)

    def wait(self, slot: int, sk: int, born: int, ended: int, **more: int) -> None:
        """A dead socket's record waits for its application."""
        self.closed[slot] = row(sk, born, ended, ABORTED, **more)
        self.keys[slot] = sk

    def linger(self, slot: int, sk: int, ended: int) -> None:
        """A timewait socket's record waits for the end of FIN_WAIT2."""
        self.timewaits[slot] = row(sk, 100, ended, ORPHANED)
        self.tw_keys[slot] = sk

    def drop(self, slot: int) -> None:
        """Its slot is free again."""
        self.timewaits["flags"][slot] = 0
        self.tw_keys[slot] = 0

    def send(self, slot: int, end: End = End.DESTROY) -> None:
        """It leaves through the ring, and its slot is free."""
        record = self.closed[slot].copy()
        record["end"] = end
        self.put(record)
        self.closed["flags"][slot] = 0
        self.keys[slot] = 0

    def put(self, record: NDArray[Any]) -> None:
        at = 2 * PAGE + self._sent % (SIZES.closes_pages * PAGE)
        size = 8 + CLOSE.itemsize
        self.ring[at : at + size] = struct.pack("=II", CLOSE.itemsize, 0) + record.tobytes()
        self._sent += size
        struct.pack_into("=Q", self.ring, PAGE, self._sent)


def row(sk: int, born: int, ended: int, path: int, **more: int) -> NDArray[Any]:
    made: NDArray[Any] = np.zeros((), CLOSE)
    depth = (path.bit_length() + 3) // 4
    made["sk"], made["path"], made["flags"] = sk, path, F_CLOSED
    made["at"][0], made["at"][depth - 1] = born, ended
    made["at"][AT_CLOSED] = ended
    for name, value in more.items():
        made[name] = value
    return made


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Of a machine with as many CPUs as can be."""
    monkeypatch.setattr(session, "_possible_cpus", lambda: CPUS)
    return Kernel()


@pytest.fixture
def source(kernel: Kernel) -> Iterator[Source]:
    with kernel.session() as session:
        yield Source(session)


def taken(source: Source) -> list[int]:
    rows: list[int] = source.take()["sk"].tolist()
    source.release()
    return rows


def test_records_of_the_ring(kernel: Kernel, source: Source) -> None:
    assert taken(source) == []
    kernel.put(row(1, 10, 20, ABORTED))
    kernel.put(row(2, 10, 20, ABORTED))
    assert not source.idle()
    assert taken(source) == [1, 2]
    assert taken(source) == []
    assert source.idle()


def test_a_dead_socket_is_waited_for_but_not_for_long(kernel: Kernel, source: Source) -> None:
    kernel.wait(3, 0xA, now() - SECOND, now())
    assert len(source.overdue()) == 0
    assert not source.idle()
    kernel.wait(3, 0xA, now() - 2 * SECOND, now() - SECOND)
    late = source.overdue()
    assert late["sk"].tolist() == [0xA]
    assert late["end"].tolist() == [End.PENDING]
    assert len(source.overdue()) == 0
    assert source.idle()


def test_what_was_taken_early_is_not_taken_again(kernel: Kernel, source: Source) -> None:
    kernel.wait(3, 0xA, 100, now() - SECOND)
    kernel.wait(4, 0xB, 100, now())
    assert source.overdue()["sk"].tolist() == [0xA]
    kernel.send(3)
    kernel.send(4)
    assert taken(source) == [0xB]


def test_who_closes_while_the_owner_is_looked_for_is_not_unknown(
    kernel: Kernel, source: Source
) -> None:
    for slot, sk in ((3, 0xA), (4, 0xB)):
        kernel.wait(slot, sk, 100, now() - SECOND)
    late = source.overdue()
    kernel.send(3)
    assert source.confirmed(late)["sk"].tolist() == [0xB]
    assert taken(source) == [0xA]
    kernel.send(4)
    assert taken(source) == []


def test_an_unknown_owner_is_looked_for_again(kernel: Kernel, source: Source) -> None:
    kernel.wait(3, 0xA, 100, now() - SECOND // 2)
    for _ in range(2):
        assert len(source.confirmed(source.overdue())) == 0
    late = source.overdue(everything=True)
    assert source.confirmed(late, everything=True)["sk"].tolist() == [0xA]
    assert len(source.overdue()) == 0


def test_whose_owner_was_found_is_given_at_once(kernel: Kernel, source: Source) -> None:
    kernel.wait(3, 0xA, 100, now() - SECOND)
    late = source.overdue()
    late["owner_from"] = Owner.DIAG
    kernel.send(3)
    assert source.confirmed(late)["sk"].tolist() == [0xA]
    assert taken(source) == []


@pytest.mark.parametrize("end", [End.DESTROY, End.REUSE, End.FULL])
def test_however_it_leaves(kernel: Kernel, source: Source, end: End) -> None:
    kernel.wait(3, 0xA, 100, now() - SECOND)
    source.overdue()
    kernel.send(3, end)
    assert taken(source) == []


def test_the_next_life_of_an_address_is_another_connection(kernel: Kernel, source: Source) -> None:
    kernel.wait(3, 0xA, 100, now() - SECOND)
    source.overdue()
    kernel.send(3)
    kernel.put(row(0xA, 200, 300, ABORTED))
    assert source.take()["at"][:, 0].tolist() == [200]
    source.release()
    kernel.put(row(0xA, 100, 300, ABORTED))
    assert taken(source) == [0xA]


def test_many_early_ones_are_each_taken_once(kernel: Kernel, source: Source) -> None:
    for slot in range(SLOTS):
        kernel.wait(slot, 0x1000 + slot, 100 + slot, now() - SECOND)
    assert len(source.overdue()) == SLOTS
    for slot in range(0, SLOTS, 2):
        kernel.send(slot)
        kernel.put(row(0x9000 + slot, 100, 200, ABORTED))
    assert len(taken(source)) == SLOTS // 2
    assert len(source.overdue()) == 0


def test_a_record_being_written_is_left_alone(kernel: Kernel, source: Source) -> None:
    kernel.wait(3, 0xA, 100, now() - SECOND, flags=0)
    assert len(source.overdue(everything=True)) == 0


def test_a_slot_whose_key_is_gone_is_left_alone(kernel: Kernel, source: Source) -> None:
    kernel.wait(3, 0xA, 100, now() - SECOND)
    kernel.keys[3] = 0
    assert len(source.overdue(everything=True)) == 0


def test_at_the_end_everything_is_taken(kernel: Kernel, source: Source) -> None:
    kernel.wait(3, 0xA, 100, now())
    kernel.awaits_rst[1] = row(0xB, 100, now(), ABORTED, end=End.DESTROY, flags=F_CLOSED | F_DEAD)
    rest = source.overdue(everything=True)
    assert dict(zip(rest["sk"].tolist(), rest["end"].tolist(), strict=True)) == {
        0xA: End.PENDING,
        0xB: End.DESTROY,
    }
    assert len(source.overdue(everything=True)) == 0


def test_a_record_that_waits_for_a_reset_waits_shorter(kernel: Kernel, source: Source) -> None:
    ended = now() - SECOND // 20
    kernel.wait(3, 0xA, 100, ended)
    kernel.awaits_rst[1] = row(0xB, 100, ended, ABORTED, end=End.DESTROY)
    assert source.overdue()["sk"].tolist() == [0xB]
    kernel.put(kernel.awaits_rst[1])
    kernel.awaits_rst["flags"][1] = 0
    assert taken(source) == []


def test_a_connection_older_than_the_trace_is_taken_once(kernel: Kernel, source: Source) -> None:
    """It has no first state: its time is that of the only one seen."""
    kernel.wait(3, 0xA, 0, 0)
    kernel.closed["at"][3] = [now() - SECOND, 0, 0, 0, 0, 0, now() - SECOND]
    kernel.closed["path"][3] = 7
    assert source.overdue()["sk"].tolist() == [0xA]
    kernel.send(3)
    assert taken(source) == []


def test_a_timewait_socket_that_must_be_gone(kernel: Kernel, source: Source) -> None:
    kernel.linger(0, 0xA, now() - 10 * SECOND)
    kernel.linger(1, 0xB, now() - 80 * SECOND)
    assert source.unfinished() == 2
    gone = source.stale()
    assert gone["sk"].tolist() == [0xB]
    assert gone["end"].tolist() == [End.STALE]
    assert len(source.stale()) == 0
    assert source.unfinished() == 1


def test_when_the_next_one_can_be_gone(kernel: Kernel, source: Source) -> None:
    """60 s, an eighth more for the timer wheel, 3 s more; of one that begins later not before."""
    assert source.stale_s == 0
    source.stale()
    assert 59 < source.stale_s - time.monotonic() <= 60
    kernel.linger(0, 0xA, now() - 60 * SECOND)
    kernel.linger(1, 0xB, now() - 80 * SECOND)
    source.stale()
    assert 9 < source.stale_s - time.monotonic() < 11


def test_a_timewait_socket_reported_as_stale_is_not_reported_again(
    kernel: Kernel, source: Source
) -> None:
    kernel.linger(1, 0xB, now() - 80 * SECOND)
    assert len(source.stale()) == 1
    late = kernel.timewaits[1].copy()
    late["end"] = End.FIN
    kernel.put(late)
    kernel.drop(1)
    assert taken(source) == []


def test_what_is_remembered_is_forgotten_when_its_slot_is_free(
    kernel: Kernel, source: Source
) -> None:
    """A trace of days must not grow by what it has seen, however the record left."""
    for number in range(10):
        kernel.wait(3, 0xA + number, 100, now() - SECOND)
        kernel.linger(1, 0x1000 + number, now() - 80 * SECOND)
        assert len(source.overdue()) == 1
        assert len(source.stale()) == 1
        # The ring was full: the record left, and nothing arrives.
        kernel.keys[3] = kernel.closed["flags"][3] = 0
        kernel.drop(1)
        taken(source)
        source.overdue()
        source.stale()
        source.forget()
    assert len(source._given) <= 2


@pytest.mark.parametrize(
    ("stat", "where"),
    [
        (Stat.LOST_CLOSES, "ring buffer of closes"),
        (Stat.LOST_EVENTS, "ring buffer of events"),
    ],
)
def test_losses_are_told_once_and_summed_over_cpus(
    kernel: Kernel, source: Source, stat: Stat, where: str
) -> None:
    assert source.losses() == []
    kernel.stats[0, stat] = 2
    kernel.stats[700, stat] = 3
    assert source.losses() == [LostCount(5, where)]
    assert source.losses() == []
    kernel.stats[1, stat] += 1
    assert source.losses() == [LostCount(1, where)]


def test_what_is_no_loss_is_none(kernel: Kernel, source: Source) -> None:
    for stat in (Stat.FILTERED, Stat.RST_NO_SOCKET, Stat.RST_SOCKET, Stat.RST_TIMEWAIT):
        kernel.stats[0, stat] = 7
    assert source.losses() == []


def test_two_connections_without_a_history_at_one_address_are_two(
    kernel: Kernel, source: Source
) -> None:
    """No state of theirs has a time: they are told apart by when they closed."""
    kernel.wait(3, 0xA, 0, now() - 2 * SECOND)
    kernel.closed["at"][3, :AT_CLOSED] = kernel.closed["path"][3] = 0
    assert source.overdue()["sk"].tolist() == [0xA]
    kernel.send(3)
    kernel.wait(3, 0xA, 0, now() - SECOND)
    kernel.closed["at"][3, :AT_CLOSED] = kernel.closed["path"][3] = 0
    kernel.send(3)
    assert taken(source) == [0xA]


def test_a_long_half_closed_connection_is_not_stale_when_its_timewait_socket_begins(
    kernel: Kernel, source: Source
) -> None:
    kernel.linger(0, 0xA, now() - 500 * SECOND)
    kernel.timewaits["at"][0, AT_CLOSED] = now() - SECOND
    assert len(source.stale()) == 0


def test_the_kernel_side_is_told_what_was_reported(kernel: Kernel, source: Source) -> None:
    closed = now() - SECOND
    kernel.wait(3, 0xA, 100, closed)
    kernel.wait(5, 0xB, 100, now())
    assert len(source.overdue()) == 1
    assert kernel.reported[3] == closed
    assert kernel.reported.sum() == closed
    gone = now() - 80 * SECOND
    kernel.linger(7, 0xC, gone)
    source.stale()
    assert kernel.timewaits_reported[7] == gone


def test_what_leaves_its_slot_meanwhile_is_not_forgotten(kernel: Kernel, source: Source) -> None:
    """A record that is being sent, its key busy, has yet to come out of the ring."""
    kernel.wait(3, 0xA, 100, now() - SECOND)
    source.overdue()
    kernel.keys[3] = 1
    source.forget()
    kernel.send(3)
    assert taken(source) == []
