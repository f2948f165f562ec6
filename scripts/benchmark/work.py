# SPDX-License-Identifier: Apache-2.0
"""What keeps the machine busy while tracers watch: the storm in two ways, and a web server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scripts.benchmark.namespace import TIMEWAIT_BUCKETS
from scripts.benchmark.storm import Load, Storm
from tracetw.lab.net.host import Host

__all__ = ["STORMS", "Run", "StormWork", "Work"]

Run = Callable[[int], Load]
"""Make that many connections. Raises BenchError unless each went as described."""

MOST_AT_ONCE = 20_000_000
"""Connections of a round: a bound on what it can take of time and disk."""

STORMS = {
    "rst": "One end closes with SO_LINGER 0, the other notices and closes.",
    "timewait": "Orderly: the client closes first and carries TIME_WAIT.",
}


class Work(ABC):
    """A load of a name; ``what`` says in a sentence what it does."""

    name: str
    what: str
    most: int = MOST_AT_ONCE

    @abstractmethod
    @contextmanager
    def ready(self, namespace: Host) -> Iterator[Run]:
        """It can run in the namespace while in this context. Raises NotStarted."""


class StormWork(Work):
    """``scripts/storm.c``: nothing but connections that open and close, one worker a CPU."""

    def __init__(self, mode: str, storm: Storm) -> None:
        self.name = mode
        self.what = STORMS[mode]
        self._storm = storm
        if mode == "timewait":
            self.most = TIMEWAIT_BUCKETS * 3 // 4  # all of them wait for 60 s

    @contextmanager
    def ready(self, namespace: Host) -> Iterator[Run]:
        """Nothing has to be started."""
        yield lambda count: self._storm.run(namespace, count, self.name)
