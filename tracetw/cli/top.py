# SPDX-License-Identifier: Apache-2.0
"""``tracetw top``: the stream on a full screen."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import click

from tracetw.cli.needs import need
from tracetw.cli.options import (
    live_filter,
    parse_duration,
    parse_speed,
    recorded_filter_options,
    window_options,
)
from tracetw.cli.size import buffer_option, parse_buffer
from tracetw.errors import BadInput

_SCREENS = ("closes", "failing", "timewait", "story", "trust")
_ONCE_S = 5.0


@click.command("top", short_help="Show on a full screen how connections end and which fail now.")
@recorded_filter_options
@click.option(
    "--replay",
    "paths",
    metavar="PATH",
    multiple=True,
    type=click.Path(),
    help="Show a recording (a folder or a file of tracetw record) instead of this host.",
)
@window_options
@click.option(
    "--speed",
    default="max",
    show_default=True,
    metavar="1|10|max",
    help="How fast a recording goes by.",
)
@click.option(
    "--screen",
    type=click.Choice(_SCREENS),
    default=_SCREENS[0],
    show_default=True,
    help="The first one to show.",
)
@click.option(
    "--once", is_flag=True, help="Print one screen as text, after --duration (5 s), and end."
)
@click.option(
    "-d",
    "--delay",
    type=click.IntRange(1, 3600),
    default=1,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks.",
)
@click.option("--duration", metavar="TIME", help="End after this time: 30, 30s, 5m.")
@click.option("--utc", is_flag=True, help="Times in UTC instead of local time.")
@buffer_option
@click.option(
    "--max-connections",
    type=click.IntRange(1 << 10, 1 << 24),
    metavar="N",
    help="Live connections to have room for, 405 bytes of kernel memory each.",
)
def command(
    conditions: dict[str, Any],
    paths: tuple[str, ...],
    since: str | None,
    until: str | None,
    speed: str,
    screen: str,
    once: bool,
    delay: int,
    duration: str | None,
    utc: bool,
    buffer: str | None,
    max_connections: int | None,
) -> int:
    """Show how connections end, which fail now, who carries TIME_WAIT, and the story of each.

    ? shows the keys. No record is lost for a slow terminal: it misses screens, not connections.
    --replay shows the same screens of a recording.

    \b
    Examples:
      tracetw top                                everything that ends on this host
      tracetw top --port 443 --abnormal          what goes wrong on port 443
      tracetw top --screen failing               connections that fail now, and until when
      tracetw top --replay /var/lib/tracetw      a recording, as trace would have seen it
      tracetw top --replay rec --since 12:00 --until 12:05 --speed 1
      tracetw top --once --duration 10s          ten seconds as one screen of text
    """
    pace = parse_speed(speed)
    seconds = parse_duration(duration)
    if not paths and (since or until):
        raise BadInput("--since and --until choose a part of a recording", "give --replay, too")
    if paths and seconds is not None:
        raise BadInput("--duration is for this host", "use --since and --until for a recording")
    wanted = None if paths else live_filter(conditions, duration)
    from tracetw.top.frame import check_terminal, full_screen, print_once  # noqa: PLC0415

    if not once:
        check_terminal()
    from tracetw.top.board import Board  # noqa: PLC0415 (loads NumPy)
    from tracetw.top.feed import live, recorded, slot_width  # noqa: PLC0415
    from tracetw.top.state import WINDOWS, ViewState  # noqa: PLC0415

    state = ViewState(screen=screen)
    if wanted is None:
        from tracetw.recording.reader import open_recordings  # noqa: PLC0415
        from tracetw.replay.conditions import recorded_filter  # noqa: PLC0415
        from tracetw.replay.window import Window  # noqa: PLC0415

        recordings = open_recordings(paths)
        only = recorded_filter(conditions, recordings)
        window = Window.of_recordings(since, until, recordings, utc=utc)
        if any(recording.compacted for recording in recordings):
            need("recording", "top")
        board = Board(slot_width(recordings, window), utc=utc, recorded=True)
        feed = recorded(board, recordings, only, window, pace)
        state.window = len(WINDOWS) - 1
    else:
        from tracetw.live.backlog import default_bytes  # noqa: PLC0415
        from tracetw.live.request import Request  # noqa: PLC0415

        request = Request(
            filter=wanted,
            duration=_ONCE_S if once and seconds is None else seconds,
            buffer_bytes=default_bytes() if buffer is None else parse_buffer(buffer),
            max_connections=max_connections,
        )
        board = Board(utc=utc)
        feed = live(board, request)
        if once and request.duration is not None:
            # All of the time that was asked for; the first and the last second are parts of one.
            state.window = bisect_left(WINDOWS[:-1], request.duration + 1)
    if once:
        return print_once(board, state, feed)
    need("top", "top")
    return full_screen(board, state, feed, float(delay))
