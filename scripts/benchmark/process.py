# SPDX-License-Identifier: Apache-2.0
"""What /proc tells about a running tracer and about the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CpuTimes", "Memory", "cpu_seconds", "cpu_times", "memory", "settle", "tree"]

TICK = os.sysconf("SC_CLK_TCK")
COMPILER = ("libLLVM", "libclang", "libbcc.so")
QUIET = 0.05  # busy share of all CPUs below which the machine counts as idle
SAMPLE_S = 0.2
SETTLE_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process tree: bytes resident now, the sum of the peaks, and whether a compiler is mapped."""

    resident: int
    peak: int
    compiler: bool


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Of all CPUs since boot, seconds: idle, used by processes (or kept by a hypervisor), all."""

    idle: float
    used: float
    total: float

    def others(self, earlier: CpuTimes, own: float) -> float:
        """Share of the CPU time since ``earlier`` that went to others than ``own`` seconds."""
        spent = self.total - earlier.total
        return max(0.0, (self.used - earlier.used - own) / spent) if spent else 0.0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (state) on; the name before may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """The process and its descendants now."""
    parents: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of the processes and of the children they waited for."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            ticks += sum(int(field) for field in _stat(pid)[11:15])
    return ticks / TICK


def memory(pids: Iterable[int]) -> Memory:
    """Memory of the processes."""
    resident = peak = 0
    compiler = False
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            status = {name: value for name, _, value in (line.partition(":") for line in lines)}
            resident += int(status["VmRSS"].split()[0]) * 1024
            peak += int(status["VmHWM"].split()[0]) * 1024
            maps = Path(f"/proc/{pid}/maps").read_text()
            compiler = compiler or any(name in maps for name in COMPILER)
    return Memory(resident, peak, compiler)


def cpu_times() -> CpuTimes:
    """Now. Interrupts are nobody's: a storm causes most of them and is not charged for them."""
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, idle, wait, hard, soft, steal = (
        int(field) / TICK for field in line.split()[1:9]
    )
    used = user + nice + system + steal
    return CpuTimes(idle + wait, used, used + idle + wait + hard + soft)


def settle() -> bool:
    """Wait until the machine is idle: also for the kernel to have taken down the last namespace.

    False when it does not become idle.
    """
    end = time.monotonic() + SETTLE_LIMIT_S
    before = cpu_times()
    while time.monotonic() < end:
        time.sleep(SAMPLE_S)
        now = cpu_times()
        if now.idle - before.idle > (1 - QUIET) * (now.total - before.total) > 0:
            return True
        before = now
    return False
