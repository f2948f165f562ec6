# SPDX-License-Identifier: Apache-2.0
"""The machine of a measurement: what it is, how busy its CPUs are, and waiting until they are idle."""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.siblings import slowed

__all__ = ["CpuTimes", "Machine", "cpu_times", "settle", "this_machine"]

TICK = os.sysconf("SC_CLK_TCK")
QUIET = 0.05  # busy share of all CPUs below which the machine counts as idle
SAMPLE_S = 0.2


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured, without names: date (YYYY-MM-DD), kernel release, CPUs, and ``slowed`` (siblings.py)."""

    date: str
    kernel: str
    architecture: str
    model: str
    cpus: int
    slowed: float


def this_machine(date: str) -> Machine:
    """This one. The release is cut to its numbers: what follows names a build."""
    numbers = re.match(r"[\d.]+", platform.release())
    models = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    kernel = numbers[0] if numbers else platform.release()
    model = models[0] if models else "unnamed"
    return Machine(date, kernel, platform.machine(), model, cpu_times().cpus, slowed())


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Of all CPUs since boot, seconds: idle, used by processes, kept by a hypervisor, all.

    ``at`` is the monotonic time of reading, ``cpus`` how many are online.
    """

    idle: float
    used: float
    total: float
    stolen: float = 0.0
    at: float = 0.0
    cpus: int = 1

    def others(self, earlier: CpuTimes, own: float) -> float:
        """Share of the CPU time since ``earlier`` that went to others than ``own`` seconds."""
        spent = self.total - earlier.total
        return max(0.0, (self.used - earlier.used - own) / spent) if spent else 0.0

    def busy(self, earlier: CpuTimes) -> float:
        """CPU seconds since ``earlier`` in which this machine worked, interrupts included.

        What is not idle: the kernel measures idle time exactly (``get_idle_time``, fs/proc/stat.c),
        all else by what it finds at each tick.
        """
        passed = self.cpus * (self.at - earlier.at)
        return max(0.0, passed - (self.idle - earlier.idle) - (self.stolen - earlier.stolen))


def cpu_times() -> CpuTimes:
    """Now. Interrupts are nobody's: a storm causes most of them and is not charged for them."""
    lines = Path("/proc/stat").read_text().splitlines()
    at = time.monotonic()
    cpus = sum(re.match(r"cpu\d", line) is not None for line in lines)
    user, nice, system, idle, wait, hard, soft, steal = (
        int(field) / TICK for field in lines[0].split()[1:9]
    )
    used = user + nice + system + steal
    return CpuTimes(idle + wait, used, used + idle + wait + hard + soft, steal, at, cpus)


def settle(limit_s: float) -> bool:
    """Wait until the machine is idle, but no longer: also for the kernel to have taken down the last namespace.

    False when it does not become idle.
    """
    end = time.monotonic() + limit_s
    before = cpu_times()
    while time.monotonic() < end:
        time.sleep(SAMPLE_S)
        now = cpu_times()
        if now.idle - before.idle > (1 - QUIET) * (now.total - before.total) > 0:
            return True
        before = now
    return False
