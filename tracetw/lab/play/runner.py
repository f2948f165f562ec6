# SPDX-License-Identifier: Apache-2.0
"""Playing scenarios, several at once, under one tracer, and holding them against what is expected.

Each scenario has hosts of its own, so the ``netns`` of a line says whose it is. The hosts stay until
the tracer has stopped: a namespace's number is given to the next one as soon as it is free.
"""

from __future__ import annotations

import ctypes
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from tracetw.lab.expect.kernel import shown
from tracetw.lab.expect.scenario import as_lines
from tracetw.lab.net.cable import networks
from tracetw.lab.net.capture import Capture
from tracetw.lab.net.host import rare_numbers
from tracetw.lab.net.topology import Net
from tracetw.lab.net.wire import disagreements, read
from tracetw.lab.play.gather import collect, lines_of, thread_name
from tracetw.lab.play.outcome import ENDS, Job, Outcome, ProblemKind
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import LOOK_S, STOP, NotPlayed, patient, require

__all__ = ["AT_ONCE", "TRACE", "Runner"]

PR_SET_NAME = 15
AT_ONCE = 8
READY_DEADLINE_S = 30.0
TRACE = (
    "--events",
    "timewait,drop",
    *(
        word
        for net in (98, 99)
        for network in networks(net).values()
        for word in ("--addr", network)
    ),
)
"""What a tracer is started with: nothing but the lab's own addresses."""


_libc = ctypes.CDLL(None, use_errno=True)


class Runner:
    """Plays jobs from the start of the context on; ``finish`` stops the tracer and settles.

    Args:
        tracer: attached, with :data:`TRACE`, for all namespaces.
        at_once: how many scenarios play at the same time.
        pcap: folder in which the captures stay; None: they go with the runner.
        keep: leave the namespaces.
        shows: what expectations depend on; None: what this kernel shows.
        done: called with each outcome when it is there, from the thread that played.
        check: called now and then by who waits for outcomes; what it raises ends all.
    """

    def __init__(
        self,
        tracer: Tracer,
        jobs: Iterable[Job],
        *,
        at_once: int = AT_ONCE,
        pcap: Path | None = None,
        keep: bool = False,
        shows: Container[str] | None = None,
        done: Callable[[Outcome], None] = lambda _: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._tracer = tracer
        self._keep = keep
        self._done = done
        self._check = check
        self._undo = ExitStack()
        folder = self._undo.enter_context(tempfile.TemporaryDirectory())
        self._pcap = pcap or Path(folder)
        self._kept = pcap is not None
        self._lock = threading.Lock()
        self._nets: dict[str, Net] = {}
        shows = shown() if shows is None else shows
        here = [replace(job, scenario=job.scenario.on(shows)) for job in jobs]
        # Long ones first, so that no other waits for them at the end.
        self._jobs = sorted(here, key=lambda job: -job.scenario.seconds)
        last = sum(job.scenario.removes for job in self._jobs)
        self._ready = threading.Barrier(max(last, 1))
        self._pools = [ThreadPoolExecutor(size, "lab") for size in (at_once, 1, max(last, 1))]
        self._futures: dict[str, Future[Outcome]] = {}

    def outcome(self, job: Job) -> Outcome:
        """Wait for a job."""
        return self._futures[job.title].result()

    def outcomes(self) -> list[Outcome]:
        """Wait for all."""
        futures = self._futures.values()
        # A signal does not end a wait that it came just before, nor if another thread got it.
        while wait(futures, LOOK_S).not_done:
            self._check()
        return [future.result() for future in futures]

    def finish(self) -> list[str]:
        """Stop the tracer when all is played. What is wrong with the whole, job by job or not."""
        outcomes = self.outcomes()
        try:
            summary = self._tracer.stop()
        except NotPlayed as error:  # it lost records, or ended in another way than it should
            found = [str(error)]
        else:
            found = [
                f"{entry['counter']}: the kernel counted {entry['kernel']}, tracetw explains"
                f" {entry['explained']}"
                for entry in summary["reconciliation"]
                if entry["difference"] and not entry["reason"]
            ]
        for outcome in outcomes:
            net = self._nets.get(outcome.job.title)
            if net is None or outcome.skipped:
                continue
            for letter in ENDS:
                expected = as_lines(getattr(outcome.job.scenario, letter))
                late = lines_of(self._tracer, net, letter)[
                    max(len(expected), len(outcome.lines.get(letter, ()))) :
                ]
                found += [f"{outcome.job.title}: {letter}: reported late: {line}" for line in late]
        return found

    def _run(self, job: Job, others: Sequence[Future[Outcome]] = ()) -> Outcome:
        """Play a job once ``others`` are done."""
        outcome = Outcome(job)
        wait(others)
        _libc.prctl(PR_SET_NAME, thread_name(job).encode(), 0, 0, 0)
        started = time.monotonic()
        try:
            require(not STOP.is_set(), "stopped")
            outcome.skipped = job.scenario.needs() if job.scenario.needs else None
            if outcome.skipped is None:
                self._play(job, outcome)
        except Exception as error:  # noqa: BLE001 (a play may fail in any way: that is its result)
            outcome.add(_kind(error), [_named(error)])
        outcome.seconds = time.monotonic() - started
        if not STOP.is_set():
            self._done(outcome)
        return outcome

    def _play(self, job: Job, outcome: Outcome) -> None:
        scenario = job.scenario
        with rare_numbers() if scenario.removes else nullcontext():
            net = Net(job.family, nat=scenario.nat, keep=self._keep)
        with self._lock:
            self._undo.callback(net.close)
            self._nets[job.title] = net
        require(not STOP.is_set(), "stopped")  # from now on who stops ends what is on it
        outcome.namespaces = {letter: host.name for letter, host in net.hosts.items()}
        outcome.kept = self._keep
        outcome.steps = net.steps
        net.reported = partial(self._reported, net)
        for letter, values in scenario.sysctls.items():
            absent = [name for name in values if not net.hosts[letter].has_sysctl(name)]
            if absent:
                outcome.skipped = f"this kernel has no net.ipv4.{absent[0]}"
                return
            net.hosts[letter].sysctl(**values)
        if scenario.removes:
            self._ready.wait(patient(READY_DEADLINE_S))
        capture = Capture(net.b)
        with self._lock:
            self._undo.enter_context(capture)
        try:
            scenario.play(net)
        except Exception as error:  # noqa: BLE001 (the packets say more than the error alone)
            outcome.add(_kind(error), [_named(error)])
        collect(self._tracer, job, net, outcome)
        outcome.pcap = self._pcap / f"{job.title}.pcap"
        capture.save(outcome.pcap)
        outcome.segments = read(outcome.pcap)
        if not self._kept:
            outcome.pcap.unlink()
            outcome.pcap = None
        outcome.add(
            ProblemKind.WIRE, disagreements(scenario.wire, scenario.order, outcome.segments)
        )

    def _reported(self, net: Net, letter: str) -> int:
        return len(lines_of(self._tracer, net, letter))

    def _start(self) -> None:
        """Together what can be, then one by one what cannot, then what removes its hosts."""
        others: list[Future[Outcome]] = []
        for turn, pool in enumerate(self._pools):
            futures = {
                job.title: pool.submit(self._run, job, others)
                for job in self._jobs
                if _turn(job) == turn
            }
            self._futures |= futures
            others = [*others, *futures.values()]

    def __enter__(self) -> Runner:
        # Hosts stay until the end, each with a few descriptors: more than the 1,024 that are usual.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            self._start()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with ExitStack() as end:  # from the last to the first, whatever fails of them
            end.callback(STOP.clear)
            end.callback(self._undo.close)
            for pool in reversed(self._pools):
                end.callback(pool.shutdown)
            if kind is None:
                return
            STOP.set()
            with self._lock:
                playing = list(self._nets.values())
            for net in playing:  # who waits for a socket or a process wakes up
                end.callback(net.wake)
            end.callback(self._ready.abort)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _kind(error: Exception) -> ProblemKind:
    """What did not come about, or failed in a socket's place, is the play's; the rest a mistake."""
    return ProblemKind.PLAY if isinstance(error, (NotPlayed, OSError)) else ProblemKind.ERROR


def _turn(job: Job) -> int:
    """In which of the pools it plays."""
    return 2 if job.scenario.removes else 1 if job.scenario.alone else 0
