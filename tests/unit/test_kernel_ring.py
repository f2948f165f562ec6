# SPDX-License-Identifier: Apache-2.0
"""The reader of the ring buffer, on memory laid out as kernel/bpf/ringbuf.c lays it out."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from tracetw.event.record import CLOSE, EVENT
from tracetw.kernel.ring import Ring

PAGE = mmap.PAGESIZE
BUSY = 1 << 31
PAGES = 2
SIZE = PAGES * PAGE
# Rows that tile the buffer, and two sizes of rows that it splits at its end.
TILES = np.dtype([("sk", "<u8"), ("rest", "V240")])
SPLIT = np.dtype([("sk", "<u8"), ("rest", "V304"), ("last", "<u8")])
ODD = np.dtype([("sk", "<u8"), ("last", "<u8")])


class Kernel:
    """The writing end: a page with the consumer's position, one with the producer's, the data twice."""

    def __init__(self, record: np.dtype[np.void]) -> None:
        self.record = record
        self.slot = 8 + record.itemsize
        self.capacity = SIZE // self.slot
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + 2 * SIZE)
        self._memory = mmap.mmap(self.fd, 2 * PAGE + 2 * SIZE)
        self.written = 0

    def start(self, consumed: int) -> None:
        """As if this many records had been written and read before."""
        self.written = consumed
        struct.pack_into("=Q", self._memory, 0, consumed * self.slot)
        self._produced()

    def _produced(self) -> None:
        struct.pack_into("=Q", self._memory, PAGE, self.written * self.slot)

    def _put(self, at: int, what: bytes) -> None:
        """The kernel maps the same pages twice: here each byte is written twice."""
        for place, byte in enumerate(what, at):
            self._memory[2 * PAGE + place % SIZE] = byte
            self._memory[2 * PAGE + SIZE + place % SIZE] = byte

    def write(self, sk: int, mark: int = 0) -> int:
        """One record; its place."""
        at = self.written * self.slot % SIZE
        row = np.zeros(1, self.record)
        row["sk"] = sk
        if "last" in (self.record.names or ()):
            row["last"] = ~np.uint64(sk)
        length = struct.pack("=II", self.record.itemsize | mark, 0)
        self._put(at, length + row.tobytes())
        self.written += 1
        self._produced()
        return at

    def finish(self, at: int) -> None:
        """The record that was busy is complete."""
        self._put(at, struct.pack("=I", self.record.itemsize))

    def consumed(self) -> int:
        position: int = struct.unpack_from("=Q", self._memory, 0)[0]
        return position // self.slot

    def close(self) -> None:
        self._memory.close()
        os.close(self.fd)


@pytest.fixture(params=[TILES, SPLIT, ODD], ids=["tiles", "split", "odd"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    made = Kernel(request.param)
    yield made
    made.close()


@pytest.fixture
def ring(kernel: Kernel) -> Ring:
    return Ring(kernel.fd, kernel.record, PAGES)


def read(ring: Ring, most: int = 1 << 14) -> list[int]:
    rows = ring.peek(most)
    if "last" in (rows.dtype.names or ()):
        assert (rows["last"] == ~rows["sk"]).all()
    numbers: list[int] = rows["sk"].tolist()
    ring.release()
    return numbers


def test_an_empty_ring(kernel: Kernel, ring: Ring) -> None:
    assert ring.capacity == kernel.capacity
    assert ring.pending() == 0
    assert read(ring) == []


def test_records_come_in_order_and_once(kernel: Kernel, ring: Ring) -> None:
    for number in range(1, 6):
        kernel.write(number)
    assert ring.pending() == 5
    assert read(ring) == [1, 2, 3, 4, 5]
    assert read(ring) == []
    kernel.write(6)
    assert read(ring) == [6]


def test_nothing_is_given_back_before_release(kernel: Kernel, ring: Ring) -> None:
    kernel.write(1)
    kernel.write(2)
    first = ring.peek()
    assert kernel.consumed() == 0
    assert ring.peek()["sk"].tolist() == first["sk"].tolist() == [1, 2]
    ring.release()
    assert kernel.consumed() == 2
    ring.release()
    assert kernel.consumed() == 2


def test_of_what_was_given_some_may_stay(kernel: Kernel, ring: Ring) -> None:
    for number in (1, 2, 3):
        kernel.write(number)
    assert ring.peek()["sk"].tolist() == [1, 2, 3]
    ring.keep(1)
    ring.release()
    assert kernel.consumed() == 1
    assert read(ring) == [2, 3]


def test_what_comes_after_the_look_is_not_given_back(kernel: Kernel, ring: Ring) -> None:
    kernel.write(1)
    assert ring.peek()["sk"].tolist() == [1]
    kernel.write(2)
    ring.release()
    assert kernel.consumed() == 1
    assert read(ring) == [2]


def test_a_record_being_written_stops_the_reader(kernel: Kernel, ring: Ring) -> None:
    kernel.write(1)
    busy = kernel.write(2, BUSY)
    kernel.write(3)
    assert read(ring) == [1]
    assert read(ring) == []
    assert kernel.consumed() == 1
    kernel.finish(busy)
    assert read(ring) == [2, 3]


def test_a_first_record_being_written(kernel: Kernel, ring: Ring) -> None:
    busy = kernel.write(1, BUSY)
    assert ring.pending() == 1
    assert read(ring) == []
    kernel.finish(busy)
    assert read(ring) == [1]


def test_the_reader_goes_around(kernel: Kernel, ring: Ring) -> None:
    seen: list[int] = []
    for begin in range(0, 5 * kernel.capacity, 7):
        for number in range(begin, begin + 7):
            kernel.write(number)
        seen += read(ring) + read(ring)
    assert seen == [*range(len(seen))]
    assert len(seen) >= 5 * kernel.capacity


def test_a_batch_ends_where_the_buffer_turns_over(kernel: Kernel, ring: Ring) -> None:
    kernel.start(kernel.capacity - 2)
    for number in range(6):
        kernel.write(number)
    before = 2 if kernel.record is TILES else 3  # the one that is split is whole
    assert read(ring) == [*range(before)]
    assert read(ring) == [*range(before, 6)]


def test_a_full_ring(kernel: Kernel, ring: Ring) -> None:
    kernel.start(3)
    for number in range(kernel.capacity):
        kernel.write(number)
    assert ring.pending() == kernel.capacity
    assert read(ring) + read(ring) == [*range(kernel.capacity)]
    assert ring.pending() == 0


def test_positions_of_a_long_life(kernel: Kernel, ring: Ring) -> None:
    """Positions are bytes since the beginning and pass 32 bits on a busy host within hours."""
    long = (1 << 40) // kernel.slot // kernel.capacity * kernel.capacity
    kernel.start(long + kernel.capacity - 1)
    kernel.write(1)
    kernel.write(2)
    assert read(ring) + read(ring) == [1, 2]
    assert kernel.consumed() == long + kernel.capacity + 1


def test_no_more_than_asked_for(kernel: Kernel, ring: Ring) -> None:
    for number in range(10):
        kernel.write(number)
    assert read(ring, 4) == [0, 1, 2, 3]
    assert read(ring, 4) == [4, 5, 6, 7]
    assert read(ring, 4) == [8, 9]


def test_records_can_not_be_changed(kernel: Kernel, ring: Ring) -> None:
    kernel.write(1)
    rows = ring.peek()
    with pytest.raises(ValueError, match="read-only"):
        rows["sk"] = 2


def test_the_records_lie_in_a_ring(kernel: Kernel) -> None:
    for record in (CLOSE, EVENT):
        assert Ring(kernel.fd, record, PAGES).capacity == SIZE // (8 + record.itemsize)


@pytest.mark.parametrize("size", [100, 1 << 14])
def test_a_record_that_does_not_lie_in_a_ring_is_refused(kernel: Kernel, size: int) -> None:
    with pytest.raises(ValueError, match="do not lie"):
        Ring(kernel.fd, np.dtype([("a", "u1", (size,))]), PAGES)


def test_a_descriptor_that_cannot_be_mapped() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(OSError, match=r"denied|No such device"):
            Ring(reader, CLOSE, PAGES)
    finally:
        os.close(reader)
        os.close(writer)
