# SPDX-License-Identifier: Apache-2.0
"""Boards for the tests of the full screen, fed with recorded and made rows."""

from __future__ import annotations

from typing import Any

from tests.unit.recording_files import golden
from tests.unit.sink_rows import CLOCK, CONTEXT, closes
from tracetw.replay.pace import Pace
from tracetw.replay.replay import replay
from tracetw.stream.batch import Closes, Context
from tracetw.stream.filter import Filter
from tracetw.top.board import SECOND, Board
from tracetw.top.lines import plain
from tracetw.top.page import Page, Painter
from tracetw.top.state import ViewState

START_NS = CLOCK.to_wall_ns(0)
HERE = Context(CONTEXT.host, CONTEXT.netns, CONTEXT.names, CONTEXT.cgroup_path, clock=CLOCK)


def recorded() -> Board:
    """The golden recording."""
    board = Board(utc=True, recorded=True)
    replay(golden(), Filter(), frozenset(), board.sink, Pace(None))
    board.end()
    return board


def fed(*batches: Closes, width_ns: int = SECOND) -> Board:
    """Batches of rows of ``sink_rows``."""
    board = Board(width_ns, utc=True, recorded=True)
    sink = board.sink(HERE)
    for batch in batches:
        sink.closes(batch)
    board.end()
    return board


def reset_at(second: float, **more: Any) -> dict[str, Any]:
    """A row that ended abnormally then, in seconds after ``START_NS``."""
    end = round(second * SECOND)
    at = [end - 4, end - 3, end - 2, end - 1, end, 0, 0]
    return {"at": at, "verdict": "peer-reset", **more}


def resets(*seconds: float, **more: Any) -> Closes:
    """Rows that ended abnormally then."""
    return closes(*(reset_at(second, **more) for second in seconds))


def shown(
    board: Board, state: ViewState | None = None, size: tuple[int, int] = (80, 24)
) -> list[str]:
    """The lines of a screen as text."""
    return [plain(line) for line in page(board, state, size).lines]


def page(board: Board, state: ViewState | None = None, size: tuple[int, int] = (80, 24)) -> Page:
    """A screen."""
    return Painter(board).page(state or ViewState(window=3), *size)
