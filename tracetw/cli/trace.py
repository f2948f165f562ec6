# SPDX-License-Identifier: Apache-2.0
"""``tracetw trace``: one line per finished connection."""

from __future__ import annotations

import sys

import click

from tracetw.cli.options import (
    filter_options,
    parse_events,
    parse_ready_fd,
    room_option,
    runnable,
    use_color,
)
from tracetw.errors import BadInput
from tracetw.live.options import TraceOptions
from tracetw.stream.filter import Filter, seconds

__all__ = ["command"]


@click.command(
    "trace",
    context_settings={"allow_interspersed_args": False},
    short_help="Explain every connection that ends, as it ends.",
)
@filter_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json"]),
    default="table",
    show_default=True,
    help="80 columns, everything on one long line, or JSON lines.",
)
@click.option("--transitions", is_flag=True, help="Also every change of TCP state.")
@click.option(
    "--events",
    metavar="KIND,...",
    multiple=True,
    help="Also single events: retransmit, timewait, drop, transition.",
)
@room_option
@click.option("--duration", metavar="TIME", help="Stop after this time: 30, 30s, 5m.")
@click.option("--ready-fd", type=int, metavar="N", help="Write one byte to it when attached.")
@click.option("--color/--no-color", default=None, help="Colours; default: on a terminal only.")
@click.option("--utc", is_flag=True, help="Times of the table in UTC instead of local time.")
@click.argument("cmd", metavar="[-- CMD ...]", nargs=-1, type=click.UNPROCESSED)
def command(
    filter_: Filter,
    output: str,
    transitions: bool,
    events: tuple[str, ...],
    max_connections: int | None,
    duration: str | None,
    ready_fd: int | None,
    color: bool | None,
    utc: bool,
    cmd: tuple[str, ...],
) -> int:
    """Print one line per TCP connection that ends on this host, with the reason.

    Runs until Ctrl-C, or until CMD has ended and everything has drained; the exit status is then
    that of CMD. A summary goes to stderr at the end.

    Filters: an option given twice matches either value; all options given must match.

    Between the two addresses of a line stands who closed first: > this side, < the peer, = both,
    ! neither (a timer or an administrator).

    \b
    Examples:
      tracetw trace                                  everything, all network namespaces
      tracetw trace --port 443 --abnormal            what goes wrong on port 443
      tracetw trace --addr 10.0.0.0/8 --comm nginx   nginx and the internal network
      tracetw trace --verdict peer-reset -o wide     who resets us, with all details
      tracetw trace -o json -- ./run-tests           trace while a command runs
      tracetw trace --events timewait,drop           TIME_WAIT and segments refused, too
    """
    if sys.stdout is None:  # Python's answer to a descriptor 1 that is closed
        raise BadInput("standard output is closed", "give it a file, a pipe or a terminal")
    out = sys.stdout.buffer
    options = TraceOptions(
        filter=filter_,
        output=output,
        events=parse_events(events, transitions),
        duration=None if duration is None else seconds("--duration", duration),
        ready_fd=parse_ready_fd(ready_fd),
        command=runnable(cmd),
        color=use_color(color, out.isatty()),
        utc=utc,
        out=out,
        max_connections=max_connections,
    )
    from tracetw.live.run import run  # noqa: PLC0415 (only when every argument is good)

    return run(options)
