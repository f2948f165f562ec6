# SPDX-License-Identifier: Apache-2.0
"""``tracetw trace``: one line per finished connection."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tracetw.cli.options import (
    event_options,
    filter_options,
    parse_duration,
    parse_ready_fd,
    run_options,
    runnable,
    table_options,
    use_color,
)
from tracetw.cli.resolve import resolve_option, resolver_for, say_what_has_no_name
from tracetw.cli.size import buffer_option, parse_buffer

if TYPE_CHECKING:
    from tracetw.stream.filter import Filter


@click.command(
    "trace",
    context_settings={"allow_interspersed_args": False},
    short_help="Explain every connection that ends, as it ends.",
)
@filter_options
@table_options
@resolve_option
@event_options()
@buffer_option
@run_options
def command(
    filter_: Filter,
    output: str,
    color: bool | None,
    utc: bool,
    resolve: bool,
    kinds: frozenset[str],
    buffer: str | None,
    max_connections: int | None,
    duration: str | None,
    ready_fd: int | None,
    cmd: tuple[str, ...],
) -> int:
    """Print one line per TCP connection that ends on this host, with the reason.

    Runs until Ctrl-C, or until CMD has ended and everything has drained; the exit status is then
    that of CMD. A summary goes to stderr at the end.

    Filters: an option given twice matches either value; all options given must match. With ! in
    front, a value excludes: --port '!22,80' is neither 22 nor 80.

    Between the two addresses of a line stands who closed first: > this side, < the peer, = both,
    ! neither (a timer or an administrator).

    \b
    Examples:
      tracetw trace                                  everything, all network namespaces
      tracetw trace --port 443 --abnormal            what goes wrong on port 443
      tracetw trace --addr 10.0.0.0/8 --comm nginx   nginx and the internal network
      tracetw trace --verdict peer-reset -o wide     who resets us, with all details
      tracetw trace --port '!22' --comm '!curl'      all but ssh and curl
      tracetw trace -o json -- ./run-tests           trace while a command runs
      tracetw trace --events timewait,drop           TIME_WAIT and segments refused, too
    """
    from tracetw.live.backlog import default_bytes  # noqa: PLC0415 (loads NumPy)
    from tracetw.live.request import Request  # noqa: PLC0415
    from tracetw.sink.factory import lines_to  # noqa: PLC0415

    out = sys.stdout.buffer
    resolver = resolver_for(resolve, waits=False)
    request = Request(
        filter=filter_,
        events=kinds,
        duration=parse_duration(duration),
        ready_fd=parse_ready_fd(ready_fd),
        command=runnable(cmd),
        buffer_bytes=default_bytes() if buffer is None else parse_buffer(buffer),
        max_connections=max_connections,
        ask=resolver,
    )
    from tracetw.live.run import run  # noqa: PLC0415 (only when every argument is good)

    status = run(request, lines_to(out, output, color=use_color(color, out.isatty()), utc=utc))
    say_what_has_no_name(resolver)
    return status
