# SPDX-License-Identifier: Apache-2.0
"""``tracetw record``: the flight recorder."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracetw.cli.options import filter_options, parse_events, parse_ready_fd, runnable
from tracetw.cli.size import SIZE, parse_size
from tracetw.errors import BadInput
from tracetw.live.request import Request
from tracetw.stream.filter import Filter, seconds

if TYPE_CHECKING:
    from tracetw.recorder.recorder import Limits

__all__ = ["command"]

_SEGMENT = 64 << 20
_SMALLEST = 8 << 20
_SEGMENTS = 4


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
@click.option("--transitions", is_flag=True, help="Also every change of TCP state.")
@click.option(
    "--events",
    metavar="KIND,...",
    multiple=True,
    help="Also single events: retransmit, timewait, drop, transition.",
)
@click.option("--duration", metavar="TIME", help="Stop after this time: 30, 30s, 5m.")
@click.option("--ready-fd", type=int, metavar="N", help="Write one byte to it when attached.")
@click.argument("cmd", metavar="[-- CMD ...]", nargs=-1, type=click.UNPROCESSED)
def command(
    folder: str,
    filter_: Filter,
    max_size: str,
    max_age: str,
    segment: str | None,
    trigger: tuple[str, ...],
    keep: str,
    transitions: bool,
    events: tuple[str, ...],
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
    from tracetw.recorder.trigger import Trigger  # noqa: PLC0415 (loaded when the command runs)

    limits = _limits(max_size, max_age, segment, keep)
    triggers = [Trigger.parse(text) for text in trigger]
    request = Request(
        filter=filter_,
        events=parse_events(events, transitions),
        duration=None if duration is None else seconds("--duration", duration),
        ready_fd=parse_ready_fd(ready_fd),
        command=runnable(cmd),
    )
    from tracetw.live.run import run  # noqa: PLC0415 (loaded when every argument is good)
    from tracetw.recorder.make import records_to  # noqa: PLC0415

    filters = _filters(request.filter)
    return run(request, records_to(Path(folder), limits, triggers, request.events, filters))


def _limits(max_size: str, max_age: str, segment: str | None, keep: str) -> Limits:
    from tracetw.recorder.recorder import Limits  # noqa: PLC0415

    total = parse_size("--max-size", max_size)
    size, span = min(_SEGMENT, max(_SMALLEST, total // _SEGMENTS)), Limits().segment_s
    if segment is not None and SIZE.fullmatch(segment.strip()) and segment.strip()[-1] not in "mh":
        size = parse_size("--segment", segment)
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


def _filters(chosen: Filter) -> tuple[str, ...]:
    """The conditions of a filter, in words that a reader can show."""
    none = Filter()
    values = ((field.name, getattr(chosen, field.name)) for field in fields(chosen))
    return tuple(f"{name}: {value}" for name, value in values if value != getattr(none, name))
