# SPDX-License-Identifier: Apache-2.0
"""An attached tracer: descriptors, rings and tables, held by the long-running process.

Closing them, or dying, detaches everything: the kernel holds nothing by name.
"""

from __future__ import annotations

import mmap
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.closing import Closing
from tracetw.event.fields import Rows, end_ns
from tracetw.event.record import (
    AT_CLOSED,
    CLOSE,
    EVENT,
    F_CLOSED,
    F_DEAD,
    F_OWNED,
    F_SOCKET,
    LISTENER_END,
    End,
    Stat,
)
from tracetw.kernel.load.bpf import Misses
from tracetw.kernel.plan import CPUS, LISTENER_ENDS_PAGES, SECOND, Plan
from tracetw.kernel.ring import Ring
from tracetw.kernel.rings import Rings

SOON_MS = 2
"""Milliseconds after which every program that began before :meth:`Session.listen` has ended, or was interrupted for longer."""

# Slots to map at a time: what is mapped counts as memory of ours.
_WINDOW = 1 << 14
# Slots that are farther apart are mapped apart: each page that is mapped takes its time.
_NEAR = 64
# At the end: how often to look, and for how long, whether what has begun to end has all its facts. That takes a
# softirq or a part of close(), but the task that closes may have to wait for a CPU.
_LOOK_S, _SETTLED_NS = 0.002, 1_000_000_000
_KEY_BUSY = 1  # of bpf/prelude.h: a record is being written
_STATS = [stat for stat in Stat if stat is not Stat.MAX]


class Session(Closing):
    """Everything that the long-running process holds of the kernel.

    Attributes:
        plan: what was loaded.
        closes: rings of ``CLOSE`` records.
        events: ring of ``EVENT`` records; None when none were asked for.
    """

    def __init__(self, plan: Plan, descriptors: Mapping[str, int]) -> None:
        self.plan = plan
        self._fds = dict(descriptors)
        # Of each hook the program that runs first.
        self._missed = Misses(
            [fd for name, fd in self.programs().items() if not name.startswith(SECOND)]
        )
        self._rings = [f"map:closes{number or ''}" for number in range(plan.sizes.rings)]
        pages = plan.sizes.closes_pages // plan.sizes.rings
        self.closes = Rings([Ring(self._fds[name], CLOSE, pages) for name in self._rings], end_ns)
        self.events = (
            Ring(self._fds["map:events"], EVENT, plan.sizes.events_pages) if plan.events else None
        )
        slots = plan.sizes.closed_slots
        self._keys = self._table("closed_keys", np.dtype("<u8"), slots)
        self._reported = self._table("closed_reported", np.dtype("<u8"), slots, writable=True)
        self._bell = Ring(self._fds["map:bell"], np.dtype([("nothing", "<u8")]), 1)
        self._listening = threading.Lock()
        self._listener_ends = Ring(
            self._fds["map:listener_ends"], LISTENER_END, LISTENER_ENDS_PAGES
        )
        self._asleep = self._table("asleep", np.dtype("<u8"), 1, writable=True)
        self._polling = self._table("polling", np.dtype("<u8"), 1, writable=True)
        cpus = _possible_cpus()
        self._awaits_rst = self._table("awaits_rst", CLOSE, CPUS)[:cpus]
        stats = self._table("stats", np.dtype("<u8"), CPUS * len(_STATS))
        self._stats = stats.reshape(CPUS, len(_STATS))[:cpus]

    def _table(
        self, name: str, row: np.dtype[Any], rows: int, first: int = 0, *, writable: bool = False
    ) -> NDArray[Any]:
        """Rows of a mapped array map from ``first`` on, as long as somebody refers to them."""
        place = first * row.itemsize
        begin = place // mmap.PAGESIZE * mmap.PAGESIZE
        size = -(-(place - begin + rows * row.itemsize) // mmap.PAGESIZE) * mmap.PAGESIZE
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        memory = mmap.mmap(self._fds[f"map:{name}"], size, mmap.MAP_SHARED, access, offset=begin)
        return np.frombuffer(memory, row, rows, place - begin)

    def stats(self) -> dict[Stat, int]:
        """The tracer's own counters, summed over the CPUs."""
        return dict(zip(_STATS, self._stats.sum(axis=0).tolist(), strict=True))

    def misses(self) -> int:
        """Runs that the recursion guard skipped, and that no second program made up for."""
        missed = self._missed.total()
        # In this order: a run is skipped before the second program makes up for it.
        return max(missed - int(self._stats[:, Stat.SECOND].sum()), 0)

    def rings(self) -> list[int]:
        """Descriptors that can be polled: readable when a record came, between :meth:`listen` and :meth:`rest`."""
        names = (*self._rings, "map:events", "map:bell")
        return [self._fds[name] for name in names if name in self._fds]

    def listen(self) -> None:
        """From now on a record that comes into a ring wakes a poll of :meth:`rings`: each time costs an interrupt.

        A program that is on its way does not know of it yet: poll for ``SOON_MS`` first, then for as long as wanted.
        """
        self._polling[0] = 1

    def rest(self) -> None:
        """The reverse of :meth:`listen`."""
        self._polling[0] = 0

    def sleep(self) -> None:
        """From now on the next record that begins to wait makes :meth:`rings` readable, once."""
        self._asleep[0] = 1

    def wake(self) -> None:
        """The reverse of :meth:`sleep`."""
        self._asleep[0] = 0

    def heard(self) -> bool:
        """Has a record begun to wait since :meth:`sleep`? True once for each :meth:`sleep`."""
        if not self._bell.pending():
            return False
        rung = bool(len(self._bell.peek()))
        self._bell.release()
        return rung

    def listener_ends(self) -> Rows:
        """Listeners that closed as their process died, since the last call; of dtype ``LISTENER_END``. Any thread may ask."""
        parts = []
        with self._listening:
            while len(rows := self._listener_ends.peek()):
                parts.append(rows.copy())
                self._listener_ends.release()
        return np.concatenate(parts) if parts else np.zeros(0, LISTENER_END)

    def any_waiting(self) -> bool:
        """May :meth:`waiting` give something? Costs a few microseconds."""
        return bool(
            self._keys.any() or self._awaits_rst["flags"][: os.sysconf("SC_NPROCESSORS_CONF")].any()
        )

    def waiting(self) -> NDArray[np.void]:
        """Copies of the records whose socket is dead but not closed by its application yet.

        ``end`` is ``DESTROY`` for those that only wait for a RST that may follow.
        """
        slots = _taken(self._keys)
        rows = self._copies("closed", slots)
        # The kernel writes meanwhile. What has F_CLOSED was whole when that was set; what has
        # changed since it was copied is on its way to the ring.
        whole = (rows["flags"] & F_CLOSED) != 0
        whole &= (_bytes(rows) == _bytes(self._copies("closed", slots))).all(axis=1)
        waiting = self._awaits_rst[np.flatnonzero(self._awaits_rst["flags"].copy() & F_CLOSED)]
        return np.concatenate([rows[whole], waiting]) if len(waiting) else rows[whole]

    def timewaits(self) -> NDArray[np.void]:
        """Copies of the records that wait for the end of FIN_WAIT2."""
        rows = self._timewaits()
        found: NDArray[np.void] = rows[(rows["flags"] & F_CLOSED) != 0]
        return found

    def _timewaits(self, above: int = _KEY_BUSY) -> NDArray[np.void]:
        """Copies of the rows of taken slots, whole or not."""
        slots = self.plan.sizes.timewait_slots
        return self._copies(
            "timewaits", _taken(self._table("tw_keys", np.dtype("<u8"), slots), above)
        )

    def _copies(self, name: str, slots: NDArray[np.intp]) -> NDArray[np.void]:
        """Copies of the records in some slots, which are in order.

        A mapped table counts as memory of this process: the records are mapped for this moment, and
        only the parts that hold some.
        """
        if not len(slots):
            return np.zeros(0, CLOSE)
        far = (np.diff(slots) > _NEAR) | (np.diff(slots // _WINDOW) != 0)
        found = []
        for here in np.split(slots, np.flatnonzero(far) + 1):
            first = int(here[0])
            rows = self._table(name, CLOSE, int(here[-1]) - first + 1, first)
            found.append(rows[here - first])
        return np.concatenate(found)

    def remembered(self) -> NDArray[np.void]:
        """All records in the tables, even half written: no record that can still come is missing.

        A record is in the ring before its slot is free: look into the ring afterwards.
        """
        closed = self._copies("closed", _taken(self._keys, above=0))
        return np.concatenate([closed, self._timewaits(above=0), self._awaits_rst.copy()])

    def reported(self, rows: NDArray[np.void]) -> None:
        """Mark these waiting records as reported, for the BPF programs.

        When their slots are needed it is then no loss if the ring is full.
        """
        self._mark("closed", self._keys, self._reported, rows)

    def timewaits_reported(self, rows: NDArray[np.void]) -> None:
        """The same of records that wait for the end of FIN_WAIT2."""
        slots = self.plan.sizes.timewait_slots
        marks = self._table("tw_reported", np.dtype("<u8"), slots, writable=True)
        self._mark("timewaits", self._table("tw_keys", np.dtype("<u8"), slots), marks, rows)

    def _mark(
        self,
        name: str,
        keys: NDArray[np.uint64],
        marks: NDArray[np.uint64],
        rows: NDArray[np.void],
    ) -> None:
        """Write into ``marks`` when the records of ``rows`` were closed, where they lie in the table."""
        slots = _taken(keys)
        table = self._copies(name, slots)
        order = np.argsort(table["sk"], kind="stable")
        places = np.searchsorted(table["sk"], rows["sk"], sorter=order)
        known = places < len(table)
        found = order[places[known]]
        times = rows["at"][known, AT_CLOSED]
        same = table["at"][found, AT_CLOSED] == times
        marks[slots[found[same]]] = times[same]

    def memory(self) -> int:
        """Bytes of kernel memory that the maps take, as the kernel counts them (memlock in fdinfo)."""
        total = 0
        for name, fd in self._fds.items():
            if name.startswith("map:"):
                with Path(f"/proc/self/fdinfo/{fd}").open(encoding="ascii") as lines:
                    total += sum(
                        int(line.split()[1]) for line in lines if line.startswith("memlock")
                    )
        return total

    def programs(self) -> dict[str, int]:
        """Descriptors of the programs by name, for measurements."""
        return {
            name.removeprefix("program:"): fd
            for name, fd in self._fds.items()
            if name.startswith("program:")
        }

    def detach(self) -> None:
        """Stop tracing; what is in the rings and tables can still be read.

        First no program begins a record any more. Those that are being made get the facts that
        come within the same softirq or the same close(): a reset sent, an error, the owner. Then
        the programs go.
        """
        links = [name for name in self._fds if name.startswith("link:")]
        if not links:
            return
        self._table("stopped", np.dtype("<u8"), 1, writable=True)[0] = 1
        until = time.monotonic_ns() + _SETTLED_NS
        time.sleep(_LOOK_S)
        while self._unsettled() and time.monotonic_ns() < until:
            time.sleep(_LOOK_S)
        for name in links:
            os.close(self._fds.pop(name))

    def _unsettled(self) -> bool:
        """A waiting record is of a socket that some CPU is about to destroy."""
        rows = self.waiting()
        flags = rows["flags"]
        in_call = (flags & F_SOCKET == 0) | (flags & F_OWNED != 0)
        inside = (flags & F_DEAD != 0) | (in_call & (rows["err"] == 0))
        fresh = rows["at"][:, AT_CLOSED] > time.monotonic_ns() - _SETTLED_NS
        return bool((inside & fresh & (rows["end"] == End.NONE)).any())

    def close(self) -> None:
        """Detach and let go of the maps; the memory mapped goes with this object."""
        self.detach()
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


def _possible_cpus() -> int:
    """Rows that the kernel may write to of a table with one a CPU: the highest number and one."""
    try:
        last = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
        return min(int(re.split("[-,]", last.strip())[-1]) + 1, CPUS)
    except (OSError, ValueError):
        return CPUS


def _taken(keys: NDArray[np.uint64], above: int = _KEY_BUSY) -> NDArray[np.intp]:
    """Slots with a key, neither free nor busy; the kernel writes there."""
    slots = np.flatnonzero(keys != 0)
    taken: NDArray[np.intp] = slots[keys[slots] > above]
    return taken


def _bytes(rows: NDArray[np.void]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), rows.itemsize)
