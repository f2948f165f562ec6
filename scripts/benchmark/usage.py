# SPDX-License-Identifier: Apache-2.0
"""What /proc tells about a running tracer: its processes and threads, their CPU time and memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "Thread", "Usage", "memory", "sleeps", "threads", "tree", "usage"]

TICK = os.sysconf("SC_CLK_TCK")
COMPILER = ("libLLVM", "libclang", "libbcc.so")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process tree: bytes resident now, the sum of the peaks, and whether a compiler is mapped."""

    resident: int
    peak: int
    compiler: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds in user space and in the kernel."""

    user: float
    system: float

    @property
    def all(self) -> float:
        """Both."""
        return self.user + self.system

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(self.user - earlier.user, self.system - earlier.system)


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread: its name, user seconds, and seconds on a CPU as the scheduler measured them."""

    name: str
    user: float
    ran: float


def _stat(path: Path) -> list[str]:
    """Fields of a stat file from the third (state) on; the name before may hold spaces."""
    return (path / "stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """The process and its descendants now."""
    parents: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parents[int(entry.name)] = int(_stat(Path(entry.path))[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def usage(pids: Iterable[int]) -> Usage:
    """Of the processes and of the children they waited for."""
    user = system = 0
    for pid in pids:
        with suppress(OSError):
            fields = _stat(Path(f"/proc/{pid}"))
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
    return Usage(user / TICK, system / TICK)


def _tasks(pids: Iterable[int]) -> Iterator[Path]:
    for pid in pids:
        with suppress(OSError):
            yield from sorted(Path(f"/proc/{pid}/task").iterdir())


def threads(pids: Iterable[int]) -> dict[int, Thread]:
    """Every thread of the processes, by its number."""
    found: dict[int, Thread] = {}
    for task in _tasks(pids):
        with suppress(OSError):
            name = (task / "comm").read_text().rstrip("\n")
            ran = int((task / "schedstat").read_text().split()[0]) / 1e9
            found[int(task.name)] = Thread(name, int(_stat(task)[11]) / TICK, ran)
    return found


def sleeps(pids: Iterable[int]) -> int:
    """How often the threads of the processes went to sleep so far: each time something woke them."""
    total = 0
    for task in _tasks(pids):
        with suppress(OSError):
            status = (task / "status").read_text()
            total += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return total


def memory(pids: Iterable[int]) -> Memory:
    """Memory of the processes; of one that has ended and is not waited for yet the kernel tells none."""
    resident = peak = 0
    compiler = False
    for pid in pids:
        with suppress(OSError, KeyError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            status = {name: value for name, _, value in (line.partition(":") for line in lines)}
            resident += int(status["VmRSS"].split()[0]) * 1024
            peak += int(status["VmHWM"].split()[0]) * 1024
            maps = Path(f"/proc/{pid}/maps").read_text()
            compiler = compiler or any(name in maps for name in COMPILER)
    return Memory(resident, peak, compiler)
