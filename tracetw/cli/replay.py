# SPDX-License-Identifier: Apache-2.0
"""``tracetw replay``: what ``trace`` would have printed, from a recording."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from tracetw.cli.needs import need
from tracetw.cli.options import (
    event_options,
    parse_speed,
    recorded_filter_options,
    table_options,
    use_color,
    window_options,
)
from tracetw.cli.progress import progress
from tracetw.cli.resolve import resolve_option, resolver_for, say_what_has_no_name
from tracetw.messages import say, show

if TYPE_CHECKING:
    from tracetw.recording.reader import Recording


@click.command("replay", short_help="Print a recording as trace would have printed it.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@recorded_filter_options
@window_options
@table_options
@click.option(
    "--speed", default="max", show_default=True, metavar="1|10|max", help="How fast to go."
)
@resolve_option
@event_options(recorded=True)
def command(
    paths: tuple[str, ...],
    conditions: dict[str, Any],
    since: str | None,
    until: str | None,
    output: str,
    color: bool | None,
    utc: bool,
    speed: str,
    resolve: bool,
    kinds: frozenset[str],
) -> None:
    """Print recordings as tracetw trace would have printed them, judged by the rules of today.

    PATH is a folder or a file that tracetw record wrote, here or on another host. Recordings follow
    each other in the order of their start.

    \b
    Examples:
      tracetw replay /var/lib/tracetw                       everything
      tracetw replay rec --abnormal --addr 10.1.2.3 -o wide
      tracetw replay rec --since 12:00 --until 12:05        five minutes of the day it ends on
      tracetw replay rec -o json | jq .why
      tracetw replay rec --speed 10                         ten times as fast as it happened
    """
    pace = parse_speed(speed)
    from tracetw.recording.reader import open_recordings  # noqa: PLC0415 (loads NumPy)
    from tracetw.replay.conditions import recorded_filter  # noqa: PLC0415
    from tracetw.replay.pace import Pace  # noqa: PLC0415
    from tracetw.replay.replay import replay  # noqa: PLC0415
    from tracetw.replay.window import Window  # noqa: PLC0415
    from tracetw.sink.factory import lines_to  # noqa: PLC0415
    from tracetw.sink.output import OutputClosed  # noqa: PLC0415
    from tracetw.sink.summary import summary_text  # noqa: PLC0415

    out = sys.stdout.buffer
    resolver = resolver_for(resolve, waits=True)
    with progress(shown=not out.isatty()) as bar:
        recordings = open_recordings(paths)
        wanted = recorded_filter(conditions, recordings)
        window = Window.of_recordings(since, until, recordings, utc=utc)
        if any(recording.compacted for recording in recordings):
            bar.pause()
            need("recording", "replay")
        make_sink = lines_to(out, output, color=use_color(color, out.isatty()), utc=utc)
        for recording in recordings:
            _say_what_is_missing(recording, kinds)
            known = [*recording.damage]
            for damage in known:
                say(str(damage))
            try:
                summary = replay(
                    recording, wanted, kinds, make_sink, Pace(pace), window=window, ask=resolver
                )
            except OutputClosed:
                return
            bar.pause()
            for damage in recording.damage[len(known) :]:  # found where it was read
                say(str(damage))
            show(summary_text(summary))
    say_what_has_no_name(resolver)


def _say_what_is_missing(recording: Recording, kinds: frozenset[str]) -> None:
    missing = sorted(kinds - recording.header.events)
    if missing:
        say(
            f"single events ({', '.join(missing)}) were not recorded on"
            f" {recording.header.host!r}; record with --events {','.join(missing)}"
        )
