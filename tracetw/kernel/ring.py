# SPDX-License-Identifier: Apache-2.0
"""A BPF ring buffer of records of one size, read in batches.

Layout: kernel/bpf/ringbuf.c. A page with the consumer position, a page with the producer position,
then the data, twice in a row. Every record has an 8-byte header: length with a busy and a discard bit. With
records of one size the data is an array of rows wherever it begins; the row that turns over goes on
in the first page of the second copy.
"""

from __future__ import annotations

import mmap
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

# The busy bit is above it: a marked length is no less than this.
_DISCARD = np.uint32(1 << 30)
_HEADER = 8


class Ring:
    """The reader's end of one ring buffer.

    Args:
        fd: descriptor of the map.
        record: dtype of a record; a multiple of 8 bytes, less than a page.
        pages: size of the data in pages, a power of two.

    Raises OSError when the map cannot be mapped.
    """

    AT_ONCE: ClassVar[int] = 1 << 12
    """Records that :meth:`peek` gives at most."""

    def __init__(self, fd: int, record: np.dtype[np.void], pages: int) -> None:
        page = mmap.PAGESIZE
        self._size = pages * page
        self._dtype = np.dtype(
            {
                "names": ["length", "record"],
                "formats": ["<u4", record],
                "offsets": [0, _HEADER],
                "itemsize": _HEADER + record.itemsize,
            }
        )
        self._row = self._dtype.itemsize
        if self._row % _HEADER or self._row > page:
            raise ValueError(f"records of {record.itemsize} bytes do not lie in a ring buffer")
        consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        # Of the second copy only what a row needs: what is mapped counts as memory of ours.
        self._map = mmap.mmap(
            fd, page + self._size + page, mmap.MAP_SHARED, mmap.PROT_READ, offset=page
        )
        self._consumer: NDArray[np.uint64] = np.frombuffer(consumer_map, "<u8", 1)
        self._producer: NDArray[np.uint64] = np.frombuffer(self._map, "<u8", 1)
        self._peeked = 0
        self.capacity = self._size // self._row
        """records"""

    def pending(self) -> int:
        """Records that wait to be read, at least."""
        return (int(self._producer[0]) - int(self._consumer[0])) // self._row

    def peek(self, most: int = AT_ONCE) -> NDArray[np.void]:
        """What is ready, oldest first, in place: read-only, and valid until :meth:`release`.

        Up to ``most`` records, an empty array for none; fewer than are ready where the buffer
        turns over. Stops at a record that is still being written.
        """
        begin = int(self._consumer[0])
        first = begin % self._size
        ready = (int(self._producer[0]) - begin) // self._row
        count = max(min(ready, most, -((first - self._size) // self._row)), 0)
        rows: NDArray[np.void] = np.frombuffer(self._map, self._dtype, count, mmap.PAGESIZE + first)
        marked = np.flatnonzero(rows["length"] >= _DISCARD)
        # bpf_ringbuf_output() never discards, so a mark is the busy one.
        self._peeked = int(marked[0]) if len(marked) else count
        records: NDArray[np.void] = rows["record"][: self._peeked]
        return records

    def keep(self, count: int) -> None:
        """Of what the last :meth:`peek` gave take so many only: the others stay, and come again."""
        self._peeked = count

    def release(self) -> None:
        """Give the room of the last :meth:`peek` back to the kernel."""
        self._consumer[0] += np.uint64(self._peeked * self._row)
        self._peeked = 0
