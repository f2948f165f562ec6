# SPDX-License-Identifier: Apache-2.0
"""An attached tracer: descriptors, rings and tables, held by the long-running process.

Closing them, or dying, detaches everything: the kernel holds nothing by name.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import CLOSE, EVENT, F_CLOSED, Stat
from tracetw.kernel.load.bpf import program_info
from tracetw.kernel.plan import AGAIN, Plan
from tracetw.kernel.ring import Ring

__all__ = ["Session"]

# CPUS in bpf/prelude.h: rows of the tables with one row a CPU.
_CPUS = 1024
_STATS = [stat for stat in Stat if stat is not Stat.MAX]


class Session:
    """Everything that the long-running process holds of the kernel.

    Attributes:
        plan: what was loaded.
        closes: ring of ``CLOSE`` records.
        events: ring of ``EVENT`` records; None when none were asked for.
    """

    def __init__(self, plan: Plan, descriptors: Mapping[str, int]) -> None:
        self.plan = plan
        self._fds = dict(descriptors)
        self.closes = Ring(self._fds["map:closes"], CLOSE, plan.sizes.closes_pages)
        self.events = (
            Ring(self._fds["map:events"], EVENT, plan.sizes.events_pages) if plan.events else None
        )
        slots = plan.sizes.closing_slots
        self._closing = self._table("closing", CLOSE, slots)
        self._keys = self._table("closing_keys", np.dtype("<u8"), slots)
        cpus = _possible_cpus()
        self._held = self._table("held", CLOSE, _CPUS)[:cpus]
        stats = self._table("stats", np.dtype("<u8"), _CPUS * len(_STATS))
        self._stats = stats.reshape(_CPUS, len(_STATS))[:cpus]

    def _table(self, name: str, row: np.dtype[Any], rows: int) -> NDArray[Any]:
        """A mapped array map, as long as somebody refers to it."""
        size = -(-rows * row.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(self._fds[f"map:{name}"], size, mmap.MAP_SHARED, mmap.PROT_READ)
        return np.frombuffer(memory, row, rows)

    def stats(self) -> dict[Stat, int]:
        """The tracer's own counters, summed over the CPUs."""
        totals = self._stats.sum(axis=0)
        return {stat: int(totals[stat]) for stat in _STATS}

    def misses(self) -> int:
        """Runs left out since the program was interrupted on that CPU, and not made up for."""
        missed = sum(
            program_info(fd).misses
            for name, fd in self.programs().items()
            if not name.startswith(AGAIN)
        )
        # In this order: what is made up for was left out before.
        return max(missed - self.stats()[Stat.AGAIN], 0)

    def rings(self) -> list[int]:
        """Descriptors that can be polled: readable when a record came after all were read."""
        return [self._fds[name] for name in ("map:closes", "map:events") if name in self._fds]

    def any_waiting(self) -> bool:
        """May :meth:`waiting` give something? Costs a few microseconds."""
        return bool(
            self._keys.any() or self._held["flags"][: os.sysconf("SC_NPROCESSORS_CONF")].any()
        )

    def waiting(self) -> NDArray[np.void]:
        """Copies of the records whose socket is dead but not closed by its application yet.

        ``end`` is ``DESTROY`` for those that only wait for a RST that may follow.
        """
        slots = _taken(self._keys)
        rows = self._closing[slots]
        # The kernel writes meanwhile. What has F_CLOSED was whole when that was set; what has
        # changed since it was copied is on its way to the ring.
        whole = (rows["flags"] & F_CLOSED) != 0
        whole &= (_bytes(rows) == _bytes(self._closing[slots])).all(axis=1)
        held = self._held[np.flatnonzero(self._held["flags"].copy() & F_CLOSED)]
        return np.concatenate([rows[whole], held]) if len(held) else rows[whole]

    def minis(self) -> NDArray[np.void]:
        """Copies of the records that wait for the end of FIN_WAIT2.

        The table is mapped for the moment only: its pages would count as ours.
        """
        slots = self.plan.sizes.mini_slots
        full = _taken(self._table("mini_keys", np.dtype("<u8"), slots))
        if not len(full):
            return np.zeros(0, CLOSE)
        rows: NDArray[np.void] = self._table("minis", CLOSE, slots)[full]
        found: NDArray[np.void] = rows[(rows["flags"] & F_CLOSED) != 0]
        return found

    def programs(self) -> dict[str, int]:
        """Descriptors of the programs by name, for measurements."""
        return {
            name.removeprefix("program:"): fd
            for name, fd in self._fds.items()
            if name.startswith("program:")
        }

    def detach(self) -> None:
        """Stop tracing; what is in the rings and tables can still be read."""
        for name in [name for name in self._fds if name.startswith("link:")]:
            os.close(self._fds.pop(name))

    def close(self) -> None:
        """Detach and let go of the maps; the memory mapped goes with this object."""
        self.detach()
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _possible_cpus() -> int:
    """Rows that the kernel may write to of a table with one a CPU: the highest number and one."""
    try:
        last = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
        return min(int(re.split("[-,]", last.strip())[-1]) + 1, _CPUS)
    except (OSError, ValueError):
        return _CPUS


def _taken(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Slots with a key, neither free nor KEY_BUSY (bpf/prelude.h); the kernel writes there."""
    return np.flatnonzero(keys.copy() > 1)


def _bytes(rows: NDArray[np.void]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), rows.itemsize)
