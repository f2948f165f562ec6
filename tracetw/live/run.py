# SPDX-License-Identifier: Apache-2.0
"""The life of one trace: attach, say so, read until it is over, sum up."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from tracetw.host import counters, hosts, netns, privileges
from tracetw.host.cgroup import Cgroups
from tracetw.host.clock import Clock
from tracetw.host.pidns import numbered_as_the_kernel
from tracetw.kernel.load.session import Session
from tracetw.live.alarm import Alarm
from tracetw.live.attach import attach
from tracetw.live.backlog import Backlog
from tracetw.live.collector import Collector
from tracetw.live.command import Command
from tracetw.live.listeners import Finder
from tracetw.live.memory import give_memory_back, keep_little_memory
from tracetw.live.request import Request
from tracetw.live.waiting import Waiting
from tracetw.live.writer import Writer
from tracetw.messages import say, show
from tracetw.reconcile.compare import Reconciled
from tracetw.reconcile.reading import Reading
from tracetw.sink.output import OutputClosed
from tracetw.stream.batch import Context, MakeSink, NoRoom, Summary, Unwritten
from tracetw.stream.known import Known
from tracetw.stream.reconciliation import reconciled
from tracetw.stream.stages import Stages
from tracetw.stream.stop import Stop

# A command has ended: its last connections may still wait for the other side.
_DRAIN = 3.0
_LOOK = 0.1
_INTERRUPTED = 130
_NICE = -10
# Of what the verifier has to say.
_WORDS = 200
_OTHER_PIDS = (
    "/proc here is that of another PID namespace than the kernel's first one: pids, of --pid"
    " too, are those of the first one, and owners that only /proc could tell stay unknown"
)
_KEEP = (*privileges.READ_PROCESSES, *privileges.ENTER_NAMESPACES)


def run(request: Request, make_sink: MakeSink, stop: Stop | None = None) -> int:
    """Trace as asked, into a sink; the exit code.

    With ``stop`` signals are the caller's, who asks to end with it, and any thread may run this.
    Raises CannotTrace before tracing began, OutputFailed when the output cannot be written.
    """
    keep_little_memory()
    before = Reading(counters.snapshot(), {}, time.monotonic_ns())
    with ExitStack() as stack:
        session = stack.enter_context(attach(request, say))
        attached = _reading(session)
        if stop is None:
            stop = Stop()
            for signum in _ending():
                stack.callback(signal.signal, signum, signal.signal(signum, stop))
        context = _context(session, request, before, attached, stop)
        return _Trace(request, session, context, make_sink).run()


def _reading(session: Session) -> Reading:
    """All counters; the tracer's own last, and the time."""
    snapshot = counters.snapshot()
    return Reading(snapshot, session.stats(), time.monotonic_ns())


def _context(
    session: Session, request: Request, before: Reading, attached: Reading, stop: Stop
) -> Context:
    cgroups = Cgroups()
    names = netns.NetnsNames()
    clock = Clock.now()
    return Context(
        host=socket.gethostname(),
        netns=netns.current(),
        names=session.plan.names,
        cgroup_path=lambda identity: cgroups.path(identity, time.monotonic()),
        netns_name=lambda inode: names.name(inode, time.monotonic()),
        clock=clock,
        started_ns=clock.to_wall_ns(time.monotonic_ns()),
        before=before,
        attached=attached,
        scope=replace(
            request.filter.scope(),
            tw_at_birth=session.plan.tw_at_birth,
            hidden=session.plan.hidden,
        ),
        hooks=tuple(hook.program for hook in session.plan.hooks),
        absent=tuple(hook.program for hook in session.plan.absent),
        stats=session.stats,
        max_connections=session.plan.sizes.connections,
        stop=stop,
        listener_ends=session.listener_ends,
        known=Known(hosts.read(), Finder() if numbered_as_the_kernel() else None, request.ask),
    )


class _Trace:
    """One attached trace. This thread reads the kernel, another one writes the output."""

    def __init__(
        self, request: Request, session: Session, context: Context, make_sink: MakeSink
    ) -> None:
        self._request = request
        self._session = session
        self._context = context = replace(context, so_far=self._so_far)
        self._stop = context.stop
        self._sink = make_sink(context)
        self._stages = Stages(context, request.filter, self._sink)
        self._backlog = Backlog(request.buffer_bytes)
        self._same_pids = numbered_as_the_kernel()
        self._collector = Collector(session, self._backlog, context.clock, look_up=self._same_pids)
        self._alarm = Alarm()
        self._collector.watch(self._alarm.fd)
        self._stop.wake = self._alarm.ring
        self._writer = Writer(
            self._stages,
            self._backlog,
            context.stop,
            look_up=self._same_pids,
            over=self._alarm.ring,
        )

    def run(self) -> int:
        """Until a signal, the time, the command or the reader of the output ends it."""
        self._announce()
        command = Command(self._request.command) if self._request.command else None
        _raise_priority()
        # What reading BTF and loading the programs took: 1 MB.
        give_memory_back()
        privileges.drop(_KEEP)
        self._writer.start()
        duration = self._request.duration
        end = math.inf if duration is None else time.monotonic() + duration
        over = self._over(command, end)
        waiting = Waiting()
        while not over() and not self._writer.over():
            # Now and then, look whether the command has ended.
            self._collector.wait(end if command is None else time.monotonic() + _LOOK)
            self._alarm.clear()
            self._collector.round()
            waiting.show(self._backlog.records)
        if command is not None and not command.ended():
            # Nobody reads any more; the command goes on to its own end.
            self._session.detach()
        status = command.status() if command is not None else 0
        self._finish()
        failed = self._writer.failed
        if failed is not None:
            failed.missing(self._unwritten())
            raise failed
        nothing = not self._stages.judged
        interrupted = command is None and self._stop.signal == signal.SIGINT and nothing
        return _INTERRUPTED if interrupted else status

    def _announce(self) -> None:
        """Every hook is attached: for people and for programs."""
        plan = self._session.plan
        absent = ", ".join(self._context.absent)
        without = f" (without {absent}: see tracetw doctor)" if absent else ""
        for program, words in plan.refused.items():
            say(f"without {program}, which the kernel refused: {words[:_WORDS]}")
        if not self._same_pids:
            say(_OTHER_PIDS)
        show(f"tracing TCP closes{without}, Ctrl-C ends")
        # Nobody reads: what is written next finds out again, where that is expected.
        with suppress(OutputClosed):
            self._sink.head()
        if self._request.ready_fd is not None:
            os.write(self._request.ready_fd, b"1")

    def _over(self, command: Command | None, end: float) -> Callable[[], bool]:
        """Is it time to end, which is ``end`` at the latest (``time.monotonic``)?"""
        drained_by: float | None = None

        def over() -> bool:
            nonlocal drained_by
            now = time.monotonic()
            asked = max(self._stop.times, int(now >= end))
            if command is None:
                return asked > 0
            if not command.ended():
                command.end(self._stop.signal or signal.SIGTERM, asked)
                return False
            drained_by = drained_by or now + _DRAIN
            return asked > 0 or now >= drained_by or self._collector.drained()

        return over

    def _so_far(self) -> tuple[Sequence[Reconciled], str | None]:
        """See ``Context.so_far``."""
        now = _reading(self._session)
        return reconciled(
            self._stages,
            self._context.attached,
            now,
            now,
            events=self._request.events,
            pending=self._collector.unfinished(),
            unjudged=self._backlog.records,
        )

    def _finish(self) -> None:
        """Everything that is still on its way, then the summary."""
        at_ns, stats = time.monotonic_ns(), self._session.stats()
        self._stages.tally.until_ns = at_ns
        ended = Reading(counters.snapshot(), stats, at_ns)
        self._session.detach()
        stopped = counters.snapshot()
        self._collector.rest()
        self._writer.finish(Waiting().show)
        at_ns = time.monotonic_ns()
        after = Reading(stopped, self._session.stats(), at_ns)
        unfinished = self._collector.unfinished()
        rows, why = reconciled(
            self._stages,
            self._context.attached,
            ended,
            after,
            events=self._request.events,
            pending=unfinished,
            unjudged=self._writer.unjudged,
        )
        summary = Summary(
            time_ns=self._collector.clock.to_wall_ns(at_ns),
            duration_s=(self._context.clock.to_wall_ns(at_ns) - self._context.started_ns) / 1e9,
            closes=self._stages.by_verdict(),
            lost=self._stages.lost,
            lost_at=self._stages.lost_at,
            filtered=not self._stages.wants_all,
            reconciliation=rows,
            not_reconciled=why,
            ended=ended,
            stopped=after,
            unfinished=unfinished,
            waited=self._backlog.most,
            unwritten=self._unwritten(),
            no_room=NoRoom.of(after.stats, self._context.max_connections),
        )
        if not self._writer.over():
            try:
                with suppress(OutputClosed):
                    self._sink.summary(summary)
            except Unwritten as error:
                self._writer.failed = error
                self._stages.unwritten += error.unwritten
                summary = replace(summary, unwritten=self._unwritten())
        from tracetw.sink.summary import summary_text  # noqa: PLC0415  tabulate, once, at the end

        show(summary_text(summary))

    def _unwritten(self) -> int:
        return self._stages.unwritten + self._writer.unjudged


def _ending() -> Iterator[signal.Signals]:
    """Signals that end a trace in order: what is on its way is reported, files are closed.

    Programs that start this one in the background, where shells ignore SIGINT, use it all the same.
    Those of a terminal that goes away stay ignored if they are, as by nohup(1).
    """
    yield from (signal.SIGINT, signal.SIGTERM)
    for signum in (signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            yield signum


def _raise_priority() -> None:
    """If the reader is starved, the ring overflows. It takes a few microseconds a connection."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
