# SPDX-License-Identifier: Apache-2.0
"""How much more CPU time the same work takes while the other CPUs work: they may be threads of one core."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

__all__ = ["slowed"]

TURNS = 300_000
TIMES = 15
LONGEST_S = 30
"""Those that compute end by themselves, should nobody end them."""
SPIN = f"""
import time
print(flush=True)
end = time.monotonic() + {LONGEST_S}
while time.monotonic() < end:
    pass
"""


def slowed() -> float:
    """CPU time of a loop while all other CPUs compute, as a multiple of what it takes while they rest."""
    alone = _loop()
    with _busy(len(os.sched_getaffinity(0)) - 1):
        return _loop() / alone


def _loop() -> float:
    """Seconds, the median of some runs: a loop that touches no memory."""
    spent = []
    for _ in range(TIMES):
        begin = time.thread_time()
        for _ in range(TURNS):
            pass
        spent.append(time.thread_time() - begin)
    return median(spent)


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes compute."""
    command = [sys.executable, "-I", "-c", SPIN]
    spinning = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for one in spinning:
            if one.stdout is not None:
                one.stdout.readline()
        yield
    finally:
        for one in spinning:
            one.kill()
            one.communicate()
