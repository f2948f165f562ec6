# SPDX-License-Identifier: Apache-2.0
"""``tracetw record``: the flight recorder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracetw import extras
from tracetw.cli.needs import in_checkout, need
from tracetw.cli.options import (
    event_options,
    filter_options,
    parse_duration,
    parse_ready_fd,
    run_options,
    runnable,
)
from tracetw.cli.size import SIZE, parse_size
from tracetw.errors import BadInput
from tracetw.stream.parse import seconds

if TYPE_CHECKING:
    from tracetw.recorder.recorder import TapeLimits
    from tracetw.stream.filter import Filter

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
    from tracetw.live.request import Request  # noqa: PLC0415 (loaded when the command runs)
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
    request = Request(
        filter=filter_,
        events=kinds,
        duration=parse_duration(duration),
        ready_fd=parse_ready_fd(ready_fd),
        command=runnable(cmd),
        max_connections=max_connections,
    )
    from tracetw.live.run import run  # noqa: PLC0415 (loaded when every argument is good)
    from tracetw.recorder.make import records_to  # noqa: PLC0415

    if in_checkout() and extras.missing("recording"):
        from tracetw.kernel import preflight  # noqa: PLC0415

        preflight.check()  # a host that cannot trace needs no packages
        need("recording", "record")
    make_sink = records_to(Path(folder), limits, triggers, request.events, filter_.words)
    return run(request, make_sink)


def _limits(max_size: str, max_age: str, segment: str | None, keep: str) -> TapeLimits:
    from tracetw.recorder.recorder import TapeLimits  # noqa: PLC0415

    total = parse_size("--max-size", max_size)
    size, span = min(_SEGMENT, max(_SMALLEST, total // _SEGMENTS)), TapeLimits().segment_s
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
    return TapeLimits(total, seconds("--max-age", max_age), size, span, seconds("--keep", keep))
