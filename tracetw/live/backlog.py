# SPDX-License-Identifier: Apache-2.0
"""A queue of bounded size between the thread that reads the ring buffers and the one that writes."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows, end_ns
from tracetw.event.layer import is_connection
from tracetw.live.pauses import FEW
from tracetw.stream.batch import Batch, Ends, Loss, ended_ns

# Rows handed on at once: enough for arrays, few enough for the processor's cache.
_AT_ONCE = 4096
# Where more than FEW come at a time, a batch waits for more like it, so many seconds at most.
_MORE_COMES = 0.05
_MOST_BYTES = 512 << 20
_PART = 8


@dataclass(frozen=True, slots=True)
class Taken(Ends):
    """Ends as they came out of the ring: nobody has looked for their owners yet."""


def default_bytes() -> int:
    """512 MiB, or an eighth of the memory of this machine if that is less."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(_MOST_BYTES, memory // _PART)


class Backlog:
    """A queue between the thread that reads the kernel and the one that writes the output.

    Args:
        limit: bytes of records that it takes before it is full.

    Attributes:
        most: records that waited at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self._changed = threading.Condition()
        self._bytes = 0
        self._closed = False
        self.records = 0
        self.most = 0

    def full(self) -> bool:
        """Then leave records in the ring buffers; when those are full, the kernel side drops and counts new ones."""
        return self._bytes >= self._limit

    def put(self, batch: Batch) -> None:
        """Add it, even if that is too much: see :meth:`full`. Its rows must not change any more."""
        with self._changed:
            if isinstance(batch, Loss):
                self._put_loss(batch)
            else:
                self._batches.append(batch)
                self._count(batch.rows, 1)
                self.most = max(self.most, self.records)
            self._changed.notify()

    def close(self) -> None:
        """The reader puts nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def drop(self) -> int:
        """Forget what waits; how many records."""
        with self._changed:
            dropped = self.records
            self._batches.clear()
            self._bytes = self.records = 0
        return dropped

    def pop(self) -> Batch | None:
        """Wait for the next batch; None after :meth:`close`, when the queue is empty.

        Joins consecutive batches of ends into one, sorted by the times of the ends; where more than a few come
        at a time it waits a moment for them.
        """
        with self._changed:
            if not self._wait():
                return None
            batch = self._batches.popleft()
            if isinstance(batch, Loss):
                return batch
            self._count(batch.rows, -1)
            if not isinstance(batch, Ends):
                return batch
            kind = type(batch)
            parts = [batch.rows, *self._more(batch)]
        rows = parts[0] if len(parts) == 1 else np.concatenate([_opaque(part) for part in parts])
        return _in_order(kind(rows.view(batch.rows.dtype), batch.clock, batch.gone))

    def rests(self, seconds: float) -> bool:
        """Nothing waits, and nothing comes for so long; false when it is closed."""
        with self._changed:
            if not self._batches and not self._closed:
                self._changed.wait(seconds)
            return not self._batches and not self._closed

    def _wait(self) -> bool:
        """For a batch, and for about as many rows as are handed on at once; false: there is none, and none comes.

        In a small batch a row costs several times as much.
        """
        while not self._batches:
            if self._closed:
                return False
            self._changed.wait()
        first, until_s = self._batches[0], time.monotonic() + _MORE_COMES
        count = 0 if isinstance(first, Loss) else len(first.rows)
        while FEW < count <= _AT_ONCE - self.records and not self.full() and not self._closed:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not self._changed.wait(left_s):
                break
        # All may have been dropped meanwhile, at the end.
        return bool(self._batches)

    def _more(self, first: Ends) -> list[Rows]:
        """The rows of ends that can be in one batch with the first."""
        parts: list[Rows] = []
        count = len(first.rows)
        while first.gone is None and self._batches:
            batch = self._batches[0]
            if type(batch) is not type(first) or not isinstance(batch, Ends):
                break
            if batch.gone is not None or batch.clock != first.clock:
                break
            count += len(batch.rows)
            if count > _AT_ONCE:
                break
            self._batches.popleft()
            self._count(batch.rows, -1)
            parts.append(batch.rows)
        return parts

    def _put_loss(self, loss: Loss) -> None:
        """Join it with the last one of that place, if nothing came in between."""
        last = self._batches[-1] if self._batches else None
        if isinstance(last, Loss) and last.where == loss.where:
            records = last.records + loss.records
            self._batches[-1] = Loss(records, loss.where, last.since_ns, loss.until_ns)
        else:
            self._batches.append(loss)

    def _count(self, rows: Rows, sign: int) -> None:
        self._bytes += sign * rows.nbytes
        self.records += sign * len(rows)


def _opaque(rows: Rows) -> Rows:
    """Copying field by field takes ten times as long."""
    return rows.view(f"V{rows.dtype.itemsize}")


def _after_subflows(rows: Rows, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """A connection of MPTCP comes behind its subflows, also where it was over before they were."""
    at = at.copy()
    sockets, which = np.unique(rows["mptcp_conn"], return_inverse=True)
    last = np.zeros(len(sockets), np.int64)
    np.maximum.at(last, which, at)
    connections = is_connection(rows)
    at[connections] = last[which[connections]] + 1
    return at


def _in_order(ends: Ends) -> Ends:
    """By the time of the end, which is not quite the order in which records leave the kernel."""
    rows = ends.rows
    end = end_ns(rows)
    at = ended_ns(rows, end)
    if rows["mptcp_conn"].any():
        at = _after_subflows(rows, at)
    if (at[1:] >= at[:-1]).all():
        return replace(ends, end=end)
    order = np.argsort(at, kind="stable")
    gone = None if ends.gone is None else ends.gone[order]
    return replace(ends, rows=_opaque(rows)[order].view(rows.dtype), gone=gone, end=end[order])
