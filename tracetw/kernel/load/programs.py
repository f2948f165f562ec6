# SPDX-License-Identifier: Apache-2.0
"""Loads all programs, on several CPUs at once: the verifier needs most of the time that a start takes.

bpf_check() takes no lock for a privileged caller, since Linux kernel commit 45a73c17bfb9 ("bpf: drop
bpf_verifier_lock") (in v5.2), and Python lets other threads run during a system call.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Sequence

from tracetw.kernel.attach_point import AttachPoint
from tracetw.kernel.load import attachment

# Two programs take longer than all others together.
_MOST_THREADS = 4


class Refused(OSError):
    """The kernel does not take a program; ``program`` is its name."""

    program: str = ""

    @classmethod
    def of(cls, program: str, error: OSError) -> Refused:
        """The same error, as one of this program."""
        refused = cls(error.errno, error.strerror)
        refused.program = program
        return refused


def load_all(work: Sequence[tuple[AttachPoint, bytes]]) -> dict[str, int]:
    """Load programs; their descriptors by name, which the caller owns.

    No thread of it outlives the call: a thread would keep the privileges that the caller drops later.

    Raises Refused of the first one of ``work`` that the kernel does not take; then it has closed the others.
    """
    loads = _Loads(work)
    try:
        loads.run(min(len(os.sched_getaffinity(0)), _MOST_THREADS, len(work)))
        loads.check()
    except BaseException:
        for fd in loads.loaded.values():
            os.close(fd)
        raise
    return loads.loaded


class _Loads:
    """Programs to load, the longest first, and what became of them."""

    def __init__(self, work: Sequence[tuple[AttachPoint, bytes]]) -> None:
        self._order = [point.program for point, _ in work]
        self._queue = deque(sorted(work, key=lambda one: len(one[1]), reverse=True))
        self._failed: dict[str, Exception] = {}
        self.loaded: dict[str, int] = {}

    def run(self, threads: int) -> None:
        """Load them all, in this thread and in others."""
        helpers = [threading.Thread(target=self._help, daemon=True) for _ in range(threads - 1)]
        started = []
        try:
            for helper in helpers:
                helper.start()
                started.append(helper)
        except RuntimeError:
            pass  # There may be no more threads (RLIMIT_NPROC): fewer do it, too.
        try:
            self._work()
        finally:
            # An interrupted start loads nothing more.
            self._queue.clear()
            for helper in started:
                helper.join()

    def check(self) -> None:
        """Raises the first error, in the order of the caller."""
        for program in self._order:
            error = self._failed.get(program)
            if isinstance(error, OSError):
                raise Refused.of(program, error) from error
            if error is not None:
                raise error

    def _help(self) -> None:
        # The verifier gives up (EAGAIN) in a thread that has got a signal: they are for the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._work()

    def _work(self) -> None:
        while self._queue:
            try:
                point, code = self._queue.popleft()
            except IndexError:
                return  # Another thread took the last one.
            try:
                self.loaded[point.program] = attachment.load(point, code)
            except Exception as error:  # noqa: BLE001  raised again in the thread of the caller
                self._failed[point.program] = error
