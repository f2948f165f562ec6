# SPDX-License-Identifier: Apache-2.0
"""An attached tracer: descriptors, rings and tables, held by the long-running process.

Closing them, or dying, detaches everything: the kernel holds nothing by name.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import CannotTrace
from tracetw.event.record import CLOSE, EVENT, F_CLOSED, Stat
from tracetw.kernel.bpf import program_info
from tracetw.kernel.plan import Plan
from tracetw.kernel.ring import Ring
from tracetw.kernel.unit import join

__all__ = ["Loader", "Session"]

_FLAGS = ("-Wno-macro-redefined", "-Wno-unused-value", "-Wno-pragma-once-outside-header")
# CPUS in bpf/prelude.h: rows of the tables with one row a CPU.
_CPUS = 1024
_STATS = [stat for stat in Stat if stat is not Stat.MAX]
_REPLY = 1 << 20
_MAX_FDS = 64


class Loader:
    """The compiling child, started early so that it imports BCC while the parent looks at BTF."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # -m puts the current folder first on the path: it must not be the user's.
            package = Path(__file__).resolve().parent.parent
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tracetw.kernel.loader", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(package.parent)},
            )
        self._socket = ours

    def load(self, plan: Plan) -> Session:
        """Compile and attach. Raises CannotTrace with what the compiler or verifier said."""
        maps = ["closing", "closing_keys", "minis", "held", "stats", "closes"]
        if plan.events:
            maps.append("events")
        request = {
            "source": join(plan),
            "cflags": list(_FLAGS),
            "maps": maps,
            "cast_function": plan.cast_function,
            "hooks": [[hook.program, hook.event] for hook in plan.hooks],
        }
        text, descriptors = b"", []
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            while not text.endswith(b"\n"):
                part, fds, _, _ = socket.recv_fds(self._socket, _REPLY, _MAX_FDS)
                descriptors += fds
                if not part:
                    break
                text += part
        except OSError:
            text = b""
        finally:
            self._socket.close()
        status = self._process.wait()
        if not text:
            raise CannotTrace(
                f"the BPF compiler ended with status {status}",
                "run the command again; if it persists, reinstall the bindings of BCC",
            )
        answer = json.loads(text)
        if "error" in answer:
            raise CannotTrace(_reason(answer["error"]))
        return Session(plan, dict(zip(answer["names"], descriptors, strict=True)))

    def abandon(self) -> None:
        """End the child without loading anything."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def _reason(text: str) -> str:
    """The lines that say why, of all that BCC, clang and the verifier printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [
        line for line in lines if "error:" in line or "Error" in line or "not allowed" in line
    ]
    shown = "; ".join((telling or lines)[:3])
    if "Operation not permitted" in text:
        return f"the kernel refused the BPF programs: {shown}"
    return f"cannot load the BPF programs: {shown}"


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
        self._held = self._table("held", CLOSE, _CPUS)
        stats = self._table("stats", np.dtype("<u8"), _CPUS * len(_STATS))
        self._stats = stats.reshape(_CPUS, len(_STATS))

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
        """Runs that the kernel left out since the same program was interrupted on that CPU."""
        return sum(
            program_info(fd).misses for name, fd in self._fds.items() if name.startswith("program:")
        )

    def waiting(self) -> NDArray[np.void]:
        """Copies of the records whose socket is dead but not closed by its application yet.

        ``end`` is ``DESTROY`` for those that only wait for a RST that may follow.
        """
        # The kernel writes meanwhile: look at a copy. A record that is being written has no flags.
        closing = self._closing[np.flatnonzero(self._keys.copy())]
        closing = closing[(closing["flags"] & F_CLOSED) != 0]
        held = self._held[np.flatnonzero(self._held["flags"].copy() & F_CLOSED)]
        return np.concatenate([closing, held]) if len(held) else closing

    def minis(self) -> NDArray[np.void]:
        """Copies of the records that wait for the end of FIN_WAIT2.

        The table is mapped for the moment only: its pages would count as ours.
        """
        rows = self._table("minis", CLOSE, self.plan.sizes.mini_slots)
        return rows[np.flatnonzero(rows["flags"].copy() & F_CLOSED)]

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
