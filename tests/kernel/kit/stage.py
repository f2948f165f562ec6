# SPDX-License-Identifier: Apache-2.0
"""Playing scenarios, several at once, under one tracer.

Each scenario has two hosts of its own, so the ``netns`` of a line says whose it is. The hosts stay
until the tracer has stopped: a namespace number is given to the next namespace as soon as it is free.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from tests.kernel.kit.expect import Expected, differences, one_of
from tests.kernel.kit.host import Host
from tests.kernel.kit.lines import ALWAYS
from tests.kernel.kit.polling import PERIOD_S
from tests.kernel.kit.topology import Pair
from tests.kernel.kit.tracer import Line, Tracer

PR_SET_NAME = 15
AT_ONCE = 8
PLAY_DEADLINE_S = 60.0
COUNTERS_DEADLINE_S = 2.0

_libc = ctypes.CDLL(None, use_errno=True)


Facts: TypeAlias = Mapping[str, Mapping[str, Expected]]
Play: TypeAlias = Callable[[Pair], "Facts | None"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done on two hosts, what the kernel must have counted, what must be reported of it.

    ``play`` may return, by end, what is known only once it was played, such as a process number.

    ``a`` and ``b`` are subsets of the one ``close`` line of the host, None when there must be none.
    ``counted_a`` and ``counted_b`` prove by the kernel's own counters that it happened.
    """

    play: Play
    a: Mapping[str, Expected] | None
    b: Mapping[str, Expected] | None
    counted_a: Mapping[str, Expected] = field(default_factory=dict)
    counted_b: Mapping[str, Expected] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the function that plays it, for test ids."""
        return self.play.__name__.replace("_", "-")


class Registry:
    """The scenarios of a test module, in the order of their definition."""

    def __init__(self) -> None:
        self._scenarios: list[Scenario] = []

    def __iter__(self) -> Iterator[Scenario]:
        return iter(self._scenarios)

    def add(
        self,
        *,
        a: Mapping[str, Expected] | None,
        b: Mapping[str, Expected] | None,
        counted_a: Mapping[str, Expected] | None = None,
        counted_b: Mapping[str, Expected] | None = None,
    ) -> Callable[[Play], Play]:
        """Decorator: register the function as a scenario."""

        def register(play: Play) -> Play:
            self._scenarios.append(Scenario(play, a, b, counted_a or {}, counted_b or {}))
            return play

        return register


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario that was played: its hosts, the thread that held its sockets, what it found."""

    pair: Pair
    comm: str
    facts: Facts


def play(scenario: Scenario, stack: ExitStack) -> Played:
    """Play on fresh hosts, which ``stack`` undoes, and check what the kernel counted."""
    comm = f"kt-{scenario.name}"[:15]
    _libc.prctl(PR_SET_NAME, comm.encode(), 0, 0, 0)
    pair = stack.enter_context(Pair())
    facts = scenario.play(pair) or {}
    await_counters(pair.a, scenario.counted_a)
    await_counters(pair.b, scenario.counted_b)
    return Played(pair, comm, facts)


def await_counters(host: Host, counted: Mapping[str, Expected]) -> None:
    """The kernel's counters of ``host`` come to be as ``counted``."""
    end = time.monotonic() + COUNTERS_DEADLINE_S
    while wrong := differences(counted, host.counters(), host.name[-1]):
        assert time.monotonic() < end, wrong
        time.sleep(PERIOD_S)


class Stage:
    """One tracer, and the scenarios that play under it from the start."""

    def __init__(self, tracer: Tracer, scenarios: Iterable[Scenario]) -> None:
        self.tracer = tracer
        self._undo = ExitStack()
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._lock = threading.Lock()
        self._played: dict[str, Future[Played]] = {
            scenario.name: self._pool.submit(self._play, scenario) for scenario in scenarios
        }

    def _play(self, scenario: Scenario) -> Played:
        return play(scenario, self._stack())

    def _stack(self) -> ExitStack:
        """A stack that is undone with the stage."""
        own = ExitStack()
        with self._lock:
            self._undo.push(own)
        return own

    def pair(self) -> Pair:
        """Two hosts that live as long as the stage."""
        return self._stack().enter_context(Pair())

    def played(self, scenario: Scenario) -> Played:
        """Wait for a scenario; what failed in it fails here."""
        return self._played[scenario.name].result(PLAY_DEADLINE_S)

    def check(self, scenario: Scenario) -> None:
        """Both ends are reported as the scenario expects."""
        done = self.played(scenario)
        found = []
        for end, host in (("a", done.pair.a), ("b", done.pair.b)):
            expected = scenario.a if end == "a" else scenario.b
            if expected is None:
                continue
            line = self.tracer.close_of(host.netns)
            whole = {**ALWAYS, **owned(done), **expected, **done.facts.get(end, {})}
            found += [f"{end}: {text}" for text in differences(whole, line)]
        assert not found, "\n".join(found)

    def surplus(self, scenario: Scenario) -> list[Line]:
        """Close lines of the scenario beyond one for each end that has one."""
        done = self.played(scenario)
        surplus = []
        for expected, host in ((scenario.a, done.pair.a), (scenario.b, done.pair.b)):
            lines = self.tracer.select(kind="close", netns=host.netns)
            surplus += lines[0 if expected is None else 1 :]
        return surplus

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._undo.close()


def owned(done: Played) -> Mapping[str, Expected]:
    """The owner of a socket held by the scenario's thread."""
    process = Path("/proc/self/comm").read_text().strip()
    return {"pid": os.getpid(), "comm": one_of(done.comm, process), "uid": os.getuid()}
