# SPDX-License-Identifier: Apache-2.0
"""The life of one trace: attach, say so, read until it is over, sum up."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import FrameType
from typing import TypeAlias

from tracetw.errors import Failed
from tracetw.event.record import Stat
from tracetw.host import counters, netns, privileges
from tracetw.host.cgroup import Cgroups
from tracetw.host.counters import Snapshot
from tracetw.host.pidns import numbered_as_the_kernel
from tracetw.kernel.load.session import Session
from tracetw.live.attach import attach
from tracetw.live.command import Command
from tracetw.live.options import TraceOptions
from tracetw.live.pipeline import Pipeline
from tracetw.live.source import Source
from tracetw.reconcile.compare import Reconciled, reconcile
from tracetw.sink.output import OutputClosed, OutputFailed
from tracetw.stream.batch import NoRoom, Scene, Sink, Summary, Unwritten
from tracetw.text import visible

__all__ = ["run"]

# Seconds between looks into the ring, which wakes nobody: it holds ten times as much.
_PAUSE = 0.025
_SWEEP = 0.1
_SWEEP_LATEST = 2.0
_AUDIT = 1.0
# A command has ended: its last connections may still wait for the other side.
_DRAIN = 3.0
_INTERRUPTED = 130
_NICE = -10
# Of what the verifier has to say.
_WORDS = 200
_OTHER_PIDS = (
    "tracetw: /proc here is that of another PID namespace than the kernel's first one: pids, of --pid"
    " too, are those of the first one, and owners that only /proc could tell stay unknown\n"
)
_KEEP = (*privileges.READ_PROCESSES, *privileges.ENTER_NAMESPACES)


class _Stop:
    """Set by a signal."""

    def __init__(self) -> None:
        self.signal = 0
        self.times = 0

    def __call__(self, signum: int, _frame: FrameType | None) -> None:
        self.signal = signum
        self.times += 1


MakeSink: TypeAlias = Callable[[TraceOptions, Scene, Session], Sink]


def run(options: TraceOptions, make_sink: MakeSink | None = None) -> int:
    """Trace as asked; the exit code. ``make_sink`` takes the place of ``options.output``.

    Raises CannotTrace before tracing began, OutputFailed when the output cannot be written.
    """
    began = counters.snapshot()
    with ExitStack() as stack:
        session = stack.enter_context(attach(options))
        attached = counters.snapshot()
        trace = _Trace(options, session, began, attached, make_sink or _sink)
        stop = _Stop()
        for signum in _ending():
            stack.callback(signal.signal, signum, signal.signal(signum, stop))
        return trace.run(stop)


class _Trace:
    """One attached trace."""

    def __init__(
        self,
        options: TraceOptions,
        session: Session,
        began: Snapshot,
        attached: Snapshot,
        make_sink: MakeSink,
    ) -> None:
        self._options = options
        self._session = session
        self._began = began
        self._attached = attached
        cgroups = Cgroups()
        names = netns.Names()
        scene = Scene(
            host=socket.gethostname(),
            netns=netns.current(),
            names=session.plan.names,
            cgroup_path=lambda identity: cgroups.path(identity, time.monotonic()),
            netns_name=lambda inode: names.name(inode, time.monotonic()),
        )
        self._sink = make_sink(options, scene, session)
        self._source = Source(session)
        self._same_pids = numbered_as_the_kernel()
        self._pipeline = Pipeline(scene, options.filter, self._sink, look_up=self._same_pids)
        self._start = time.monotonic()

    def run(self, stop: _Stop) -> int:
        """Until a signal, the time, the command or the reader of the output ends it."""
        self._announce()
        command = Command(self._options.command) if self._options.command else None
        _hurry()
        privileges.drop(_KEEP)
        self._start = time.monotonic()
        failed: Failed | None = None
        closed = False
        try:
            self._until(self._over(stop, command))
        except OutputClosed:
            closed = True
        except OutputFailed as error:
            failed = error
        if command is not None and not command.ended():
            # Nobody reads any more; the command goes on to its own end.
            self._session.detach()
        status = command.status() if command is not None else 0
        try:
            self._finish(report=failed is None and not closed)
        except OutputClosed:
            closed = True
        except (OutputFailed, Unwritten) as error:
            failed = failed or error
        if failed is not None:
            raise failed
        if command is None and stop.signal == signal.SIGINT and not self._pipeline.traced:
            return _INTERRUPTED
        return status

    def _announce(self) -> None:
        """Every hook is attached: for people and for programs."""
        absent = [hook.program for hook in self._session.plan.absent]
        without = f" (without {', '.join(absent)}: see tracetw doctor)" if absent else ""
        for program, words in self._session.plan.refused.items():
            said = visible(words[:_WORDS])
            _say(f"tracetw: without {program}, which the kernel refused: {said}\n")
        if not self._same_pids:
            _say(_OTHER_PIDS)
        _say(f"tracing TCP closes{without}, Ctrl-C ends\n")
        if self._options.output != "json":
            # Nobody reads: what is written next finds out again, where that is expected.
            with suppress(OutputClosed):
                self._sink.head()
        if self._options.ready_fd is not None:
            os.write(self._options.ready_fd, b"1")

    def _over(self, stop: _Stop, command: Command | None) -> Callable[[], bool]:
        """Is it time to end?"""
        end = None if self._options.duration is None else self._start + self._options.duration
        drained_by: float | None = None

        def over() -> bool:
            nonlocal drained_by
            now = time.monotonic()
            asked = max(stop.times, int(end is not None and now >= end))
            if command is None:
                return asked > 0
            if not command.ended():
                command.end(stop.signal or signal.SIGTERM, asked)
                return False
            drained_by = drained_by or now + _DRAIN
            drained = self._source.idle() and not self._source.unfinished()
            return asked > 0 or drained or now >= drained_by

        return over

    def _until(self, over: Callable[[], bool]) -> None:
        """Read, judge, report."""
        next_sweep = next_audit = 0.0
        source, pipeline, events = self._source, self._pipeline, self._session.events
        while not over():
            now = time.monotonic()
            # The losses alone take a system call a program: not for nothing.
            if now < next_sweep and not source.pending():
                time.sleep(_PAUSE)
                continue
            # Before what is taken now: a full ring tells of loss around just these records.
            pipeline.losses(source.losses())
            if now >= next_audit:
                pipeline.stale(source.stale())
                source.forget()
                next_audit = now + _AUDIT
            pipeline.closes(source.take())
            source.release()
            if events is not None:
                pipeline.events(events.peek())
                events.release()
            if now >= next_sweep:
                pipeline.overdue(source)
                # It may have to look through the descriptors of every process: a twentieth of
                # the time at most, and still often enough for the slots in the kernel.
                spent = time.monotonic() - now
                next_sweep = now + min(max(_SWEEP, 20 * spent), _SWEEP_LATEST)
            if self._session.closes.pending() < self._session.closes.capacity // 8:
                time.sleep(_PAUSE)

    def _finish(self, *, report: bool) -> None:
        """Everything that is still on its way, then the summary."""
        ended = counters.snapshot()
        self._session.detach()
        stopped = counters.snapshot()
        if report:
            self._rest()
        unfinished = self._source.unfinished()
        summary = Summary(
            time_ns=time.time_ns(),
            duration_s=time.monotonic() - self._start,
            closes=self._pipeline.by_verdict(),
            lost=self._pipeline.lost,
            reconciliation=self._reconcile(ended, stopped, unfinished),
            ended=ended,
            stopped=stopped,
            unfinished=unfinished,
            no_room=self._no_room(),
        )
        from tracetw.sink.summary import summary_text  # noqa: PLC0415  tabulate, once, at the end

        if report:
            try:
                self._sink.summary(summary)
            except Unwritten as error:
                _say(summary_text(replace(summary, unwritten=error.records)))
                raise
        _say(summary_text(summary))

    def _no_room(self) -> NoRoom:
        stats = self._session.stats()
        return NoRoom(
            connections=stats[Stat.CONN_FULL],
            ends=stats[Stat.END_FULL],
            records=stats[Stat.CLOSING_FULL],
            max_connections=self._session.plan.sizes.connections,
        )

    def _rest(self) -> None:
        events = self._session.events
        self._pipeline.losses(self._source.losses())
        while self._session.closes.pending():
            self._pipeline.closes(self._source.take())
            self._source.release()
        while events is not None and events.pending():
            self._pipeline.events(events.peek())
            events.release()
        self._pipeline.overdue(self._source, everything=True)

    def _reconcile(self, ended: Snapshot, stopped: Snapshot, unfinished: int) -> list[Reconciled]:
        """Against the kernel's counters."""
        stats = self._session.stats()
        totals = [stats[stat] for stat in Stat if stat is not Stat.MAX]
        return reconcile(
            self._began,
            self._attached,
            ended,
            self._pipeline.tally.result(totals),
            totals,
            stopped=stopped,
            pending=unfinished,
            events=self._options.events,
            tw_at_birth=self._session.plan.tw_at_birth,
            hidden=self._session.plan.hidden,
        )


def _ending() -> Iterator[signal.Signals]:
    """Signals that end a trace in order: what is on its way is reported, files are closed.

    Programs that start this one in the background, where shells ignore SIGINT, use it all the same.
    Those of a terminal that goes away stay ignored if they are, as by nohup(1).
    """
    yield from (signal.SIGINT, signal.SIGTERM)
    for signum in (signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            yield signum


def _hurry() -> None:
    """Records that nobody fetches are lost: on busy CPUs the reader goes before those it reports.

    It takes no more than it needs, a few microseconds a connection.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)


def _sink(options: TraceOptions, scene: Scene, _session: Session) -> Sink:
    if options.output == "json":
        from tracetw.sink.json import JsonSink  # noqa: PLC0415  only one of the sinks is needed

        return JsonSink(options.out, scene)
    from tracetw.sink.table import TableSink  # noqa: PLC0415

    return TableSink(
        options.out,
        scene,
        wide=options.output == "wide",
        color=options.color,
        utc=options.utc,
    )


def _say(text: str) -> None:
    """To stderr, which may be gone."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        pass
