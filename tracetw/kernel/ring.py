# SPDX-License-Identifier: Apache-2.0
"""A BPF ring buffer of records of one size, read in batches.

Layout: kernel/bpf/ringbuf.c. A page with the consumer position, a page with the producer position,
then the data. Every record has an 8-byte header: length with a busy and a discard bit. With header
and record together a power of two, the data is one plain array of rows and no row is ever split.
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ring"]

_BUSY = np.uint32(1 << 31)
_DISCARD = np.uint32(1 << 30)
_HEADER = 8


class Ring:
    """The reader's end of one ring buffer.

    Args:
        fd: descriptor of the map.
        record: dtype of a record; its size plus 8 is a power of two.
        pages: size of the data in pages, a power of two.

    Raises OSError when the map cannot be mapped.
    """

    def __init__(self, fd: int, record: np.dtype[np.void], pages: int) -> None:
        page = mmap.PAGESIZE
        size = pages * page
        row = np.dtype(
            {
                "names": ["length", "record"],
                "formats": ["<u4", record],
                "offsets": [0, _HEADER],
                "itemsize": _HEADER + record.itemsize,
            }
        )
        if row.itemsize & (row.itemsize - 1):
            raise ValueError(f"records of {record.itemsize} bytes do not tile a ring buffer")
        consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        # The kernel maps the data twice in a row for readers that need it; we need it once.
        data_map = mmap.mmap(fd, page + size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer: NDArray[np.uint64] = np.frombuffer(consumer_map, "<u8", 1)
        self._producer: NDArray[np.uint64] = np.frombuffer(data_map, "<u8", 1)
        rows = np.frombuffer(data_map, row, size // row.itemsize, page)
        self._lengths = rows["length"]
        self._records = rows["record"]
        self._row = row.itemsize
        self.capacity = len(rows)
        """records"""

    def pending(self) -> int:
        """Records that wait to be read, at least."""
        return (int(self._producer[0]) - int(self._consumer[0])) // self._row

    def take(self, most: int = 1 << 14) -> NDArray[np.void]:
        """Copy out what is ready, oldest first, and give the room back.

        Returns up to ``most`` records (an empty array for none). Stops at a record that is still
        being written.
        """
        begin = int(self._consumer[0]) // self._row
        count = min(int(self._producer[0]) // self._row - begin, most)
        if count <= 0:
            return self._records[:0].copy()
        first = begin % self.capacity
        parts = [(first, min(first + count, self.capacity))]
        if first + count > self.capacity:
            parts.append((0, first + count - self.capacity))
        taken = []
        done = 0
        for low, high in parts:
            lengths = self._lengths[low:high]
            busy = np.flatnonzero(lengths & _BUSY)
            ready = int(busy[0]) if len(busy) else high - low
            part = self._records[low : low + ready]
            discarded = lengths[:ready] & _DISCARD
            taken.append(part[discarded == 0] if discarded.any() else part.copy())
            done += ready
            if len(busy):
                break
        self._consumer[0] = (begin + done) * self._row
        return np.concatenate(taken) if len(taken) > 1 else taken[0]
