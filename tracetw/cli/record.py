# SPDX-License-Identifier: Apache-2.0
"""``tracetw record``: the flight recorder."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from tracetw.cli.message import say
from tracetw.cli.options import (
    event_options,
    filter_options,
    parse_duration,
    parse_ready_fd,
    run_options,
    runnable,
)
from tracetw.errors import BadInput
from tracetw.sink.human import amount
from tracetw.stream.parse import seconds
from tracetw.text import visible

if TYPE_CHECKING:
    from tracetw.kernel.load.session import Session
    from tracetw.live.options import TraceOptions
    from tracetw.recorder.recorder import Limits, Recorder, Totals
    from tracetw.recorder.trigger import Trigger
    from tracetw.stream.batch import Scene, Sink
    from tracetw.stream.filter import Filter

__all__ = ["command"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_LARGEST = 1 << 60
_SEGMENT = 64 << 20
_SMALLEST = 8 << 20
_SEGMENTS = 4
_SIGNAL = signal.SIGUSR1
_NOTHING_KEPT = (
    b"tracetw: SIGUSR1 keeps nothing: the recording has not begun, or has no --trigger signal\n"
)


@click.command(
    "record",
    context_settings={"allow_interspersed_args": False},
    short_help="Record every connection that ends, for report, replay and query.",
)
@click.option("-o", "--output", "folder", metavar="DIR", required=True, help="Where to.")
@filter_options
@click.option("--max-size", metavar="SIZE", default="1G", show_default=True, help="Disk to use.")
@click.option("--max-age", metavar="TIME", default="24h", show_default=True, help="Oldest to have.")
@click.option(
    "--segment",
    metavar="SIZE|TIME",
    help="Begin a new file at this size, or after this time. [default: 64M and 1h]",
)
@click.option(
    "--trigger",
    metavar="CONDITION",
    multiple=True,
    help="Keep what came before: verdict:CODE, rate:CODE>N/s or signal (SIGUSR1).",
)
@click.option(
    "--keep", metavar="TIME", default="5m", show_default=True, help="How much a trigger keeps."
)
@event_options()
@run_options
def command(
    folder: str,
    filter_: Filter,
    max_size: str,
    max_age: str,
    segment: str | None,
    trigger: tuple[str, ...],
    keep: str,
    kinds: frozenset[str],
    max_connections: int | None,
    duration: str | None,
    ready_fd: int | None,
    cmd: tuple[str, ...],
) -> int:
    """Record every TCP connection that ends on this host: facts, to be judged when they are read.

    Runs until Ctrl-C, or until CMD has ended and everything has drained. The oldest files are
    dropped when there are more than --max-size. Closed files are compacted in the background.

    What a trigger keeps goes to DIR/kept, which may use as much as --max-size once more.

    \b
    Examples:
      tracetw record -o /var/lib/tracetw                      always on, 1 GiB, one day
      tracetw record -o /tmp/rec -- ./run-tests               while a command runs
      tracetw record -o /var/lib/tracetw --trigger 'rate:peer-reset>50/s'
      tracetw record -o /var/lib/tracetw --trigger signal     then: kill -USR1 PID
    """
    from tracetw.live.options import TraceOptions  # noqa: PLC0415 (loaded when the command runs)
    from tracetw.recorder.trigger import Trigger  # noqa: PLC0415

    if not folder:
        raise BadInput("-o '' is no folder", "give one, or . for the current folder")
    limits = _limits(max_size, max_age, segment, keep)
    triggers = [Trigger.parse(text) for text in trigger]
    for one in triggers:
        if one.verdicts is not None and not one.verdicts[[*filter_.possible_verdicts()]].any():
            raise BadInput(
                f"--trigger {one.text!r} can never fire: no such connection passes the filter",
                "leave out --verdict or --abnormal, or the trigger",
            )
    options = TraceOptions(
        filter=filter_,
        output="recording",
        events=kinds,
        duration=parse_duration(duration),
        ready_fd=parse_ready_fd(ready_fd),
        command=runnable(cmd),
        color=False,
        utc=True,
        out=sys.stderr.buffer,
        max_connections=max_connections,
    )
    return _record(Path(folder), options, limits, triggers)


def _record(folder: Path, options: TraceOptions, limits: Limits, triggers: list[Trigger]) -> int:
    from tracetw.live.run import run  # noqa: PLC0415
    from tracetw.recorder import sampler  # noqa: PLC0415 (loaded when every argument is good)
    from tracetw.recorder.describe import Describe  # noqa: PLC0415
    from tracetw.recorder.recorder import Recorder  # noqa: PLC0415
    from tracetw.recorder.sink import RecorderSink  # noqa: PLC0415
    from tracetw.recorder.store import Store  # noqa: PLC0415
    from tracetw.recorder.trigger import Triggers  # noqa: PLC0415

    keep = _Keep()
    signal.signal(_SIGNAL, keep)
    store = Store(
        folder, socket.gethostname(), max_bytes=limits.total_bytes, max_age_s=limits.total_s
    )
    watched = Triggers(triggers, limits.keep_s)
    before = sampler.take("before")

    def make_sink(options: TraceOptions, scene: Scene, session: Session) -> Sink:
        plan = session.plan
        describe = Describe(
            names=scene.names,
            netns=scene.netns,
            hooks=tuple(hook.program for hook in plan.hooks),
            absent=tuple(hook.program for hook in plan.absent),
            events=options.events,
            command=("tracetw", *sys.argv[1:]),
            filters=options.filter.words,
        )
        recorder = Recorder(
            store,
            limits,
            describe,
            lambda moment: sampler.take(moment, session.stats()),
            say,
        )
        if watched.signalled():
            keep.recorder = recorder
        return RecorderSink(
            recorder,
            watched,
            before,
            session.stats,
            _totals(folder),
            where=f"the recording in {folder}",
        )

    return run(options, make_sink)


class _Keep:
    """The handler of SIGUSR1, which never ends a recorder: it may come from a script of long ago.

    Attributes:
        recorder: told to keep the last minutes; None: not yet, or not asked for.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if self.recorder is not None:
            self.recorder.keep("signal")
            return
        # Not through sys.stderr, which may be writing right now.
        with suppress(OSError):
            os.write(2, _NOTHING_KEPT)


def _limits(max_size: str, max_age: str, segment: str | None, keep: str) -> Limits:
    from tracetw.recorder.recorder import Limits  # noqa: PLC0415

    total = _bytes("--max-size", max_size)
    size, span = min(_SEGMENT, max(_SMALLEST, total // _SEGMENTS)), Limits().segment_s
    if segment is not None and _SIZE.fullmatch(segment.strip()) and segment.strip()[-1] not in "mh":
        size = _bytes("--segment", segment)
        if size < _SMALLEST:
            raise BadInput(f"--segment {segment} is too small", "give 8M or more, or a time")
    elif segment is not None:
        span = seconds("--segment", segment)
    if total < size * _SEGMENTS:
        raise BadInput(
            f"--max-size {max_size} is less than four segments of {size >> 20}M",
            f"give {size * _SEGMENTS >> 20}M or more",
        )
    return Limits(total, seconds("--max-age", max_age), size, span, seconds("--keep", keep))


def _bytes(option: str, text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    size = float(match[1]) * _UNITS[match[2].upper()] if match else 0.0
    if not 1 <= size < _LARGEST:
        raise BadInput(
            f"{option} {text[:100]!r} is no size", "give bytes with K, M, G or T, as in 500M"
        )
    return int(size)


def _totals(folder: Path) -> Callable[[Totals], None]:
    def said(totals: Totals) -> None:
        parts = [amount(totals.closes, "connection")]
        if totals.events:
            parts.append(amount(totals.events, "single event"))
        if totals.unwritten:
            parts.append(f"{amount(totals.unwritten, 'record')} could not be written")
        if totals.dropped:
            parts.append(f"{amount(totals.dropped, 'old segment')} dropped")
        with suppress(OSError):  # stderr may be gone
            print(visible(f"recorded to {folder}: {', '.join(parts)}"), file=sys.stderr, flush=True)

    return said
