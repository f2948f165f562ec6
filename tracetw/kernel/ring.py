# SPDX-License-Identifier: Apache-2.0
"""A BPF ring buffer of records of one size, read in batches.

Layout: kernel/bpf/ringbuf.c. A page with the consumer position, a page with the producer position,
then the data. Every record has an 8-byte header: length with a busy and a discard bit. With header
and record together a power of two, the data is one plain array of rows and no row is ever split.
"""

from __future__ import annotations

import mmap
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ring"]

# The busy bit is above it: a marked length is no less than this.
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

    AT_ONCE: ClassVar[int] = 1 << 12
    """Records that :meth:`peek` gives at most."""

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
        self._peeked = 0
        self.capacity = len(rows)
        """records"""

    def pending(self) -> int:
        """Records that wait to be read, at least."""
        return (int(self._producer[0]) - int(self._consumer[0])) // self._row

    def peek(self, most: int = AT_ONCE) -> NDArray[np.void]:
        """What is ready, oldest first, in place: read-only, and valid until :meth:`release`.

        Up to ``most`` records, an empty array for none; fewer than are ready where the buffer
        turns over. Stops at a record that is still being written.
        """
        begin = int(self._consumer[0]) // self._row
        first = begin % self.capacity
        count = min(int(self._producer[0]) // self._row - begin, most, self.capacity - first)
        lengths = self._lengths[first : first + max(count, 0)]
        marked = np.flatnonzero(lengths >= _DISCARD)
        # bpf_ringbuf_output() never discards, so a mark is the busy one.
        self._peeked = int(marked[0]) if len(marked) else len(lengths)
        return self._records[first : first + self._peeked]

    def release(self) -> None:
        """Give the room of the last :meth:`peek` back to the kernel."""
        self._consumer[0] += np.uint64(self._peeked * self._row)
        self._peeked = 0
