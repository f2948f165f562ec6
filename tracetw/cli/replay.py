# SPDX-License-Identifier: Apache-2.0
"""``tracetw replay``: what ``trace`` would have printed, from a recording."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from tracetw.cli.needs import need
from tracetw.cli.options import parse_events, recorded_filter_options, use_color
from tracetw.errors import BadInput

if TYPE_CHECKING:
    from tracetw.stream.batch import Scene, Sink

__all__ = ["command"]


def _speed(text: str) -> float | None:
    """Times as fast as it happened; None for as fast as possible."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise BadInput(f"--speed {text!r} is no speed", "give 1, 10, another number, or max")
    return speed


@click.command("replay", short_help="Print a recording as trace would have printed it.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@recorded_filter_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json"]),
    default="table",
    show_default=True,
    help="80 columns, everything on one long line, or JSON lines.",
)
@click.option(
    "--speed", default="max", show_default=True, metavar="1|10|max", help="How fast to go."
)
@click.option("--transitions", is_flag=True, help="Also every change of TCP state, if recorded.")
@click.option(
    "--events",
    metavar="KIND,...",
    multiple=True,
    help="Also single events, if recorded: retransmit, timewait, drop, transition.",
)
@click.option("--color/--no-color", default=None, help="Colours; default: on a terminal only.")
@click.option("--utc", is_flag=True, help="Times of the table in UTC instead of local time.")
def command(
    paths: tuple[str, ...],
    conditions: dict[str, Any],
    output: str,
    speed: str,
    transitions: bool,
    events: tuple[str, ...],
    color: bool | None,
    utc: bool,
) -> None:
    """Print recordings as tracetw trace would have printed them, judged by the rules of today.

    PATH is a folder or a file that tracetw record wrote, here or on another host. Recordings follow
    each other in the order of their start.

    \b
    Examples:
      tracetw replay /var/lib/tracetw                       everything
      tracetw replay rec --abnormal --addr 10.1.2.3 -o wide
      tracetw replay rec -o json | jq .why
      tracetw replay rec --speed 10                         ten times as fast as it happened
    """
    kinds = parse_events(events, transitions)
    pace = _speed(speed)
    if sys.stdout is None:  # Python's answer to a descriptor 1 that is closed
        raise BadInput("standard output is closed", "give it a file, a pipe or a terminal")
    from tracetw.recording.reader import open_recordings  # noqa: PLC0415 (loads NumPy)
    from tracetw.replay.conditions import recorded_filter  # noqa: PLC0415
    from tracetw.report.replay import Pace, replay  # noqa: PLC0415
    from tracetw.sink.output import OutputClosed  # noqa: PLC0415
    from tracetw.sink.summary import summary_text  # noqa: PLC0415

    recordings = open_recordings(paths)
    wanted = recorded_filter(conditions, recordings)
    if any(recording.compacted for recording in recordings):
        need("recording", "replay")
    out = sys.stdout.buffer
    make_sink = _sinks(out, output, color=use_color(color, out.isatty()), utc=utc)
    for recording in recordings:
        for damage in recording.damage:
            _say(f"tracetw: {damage}\n")
        try:
            summary = replay(recording, wanted, kinds, make_sink, Pace(pace))
        except OutputClosed:
            return
        _say(summary_text(summary))


def _sinks(out: BinaryIO, output: str, *, color: bool, utc: bool) -> Callable[[Scene], Sink]:
    if output == "json":
        from tracetw.sink.json import JsonSink  # noqa: PLC0415 (only one of the sinks is needed)

        return lambda scene: JsonSink(out, scene)
    from tracetw.sink.table import TableSink  # noqa: PLC0415

    return lambda scene: TableSink(out, scene, wide=output == "wide", color=color, utc=utc)


def _say(text: str) -> None:
    """To stderr, which may be gone."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
