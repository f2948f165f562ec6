# SPDX-License-Identifier: Apache-2.0
"""The stretch of time on the screen, and words for it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from tracetw.host.clock import local_times
from tracetw.top.board import Board
from tracetw.top.state import ViewState


@dataclass(frozen=True, slots=True)
class Span:
    """Stretches ``since`` to ``until``, inclusive, of ``width_ns`` each."""

    since: int
    until: int
    width_ns: int

    @property
    def since_ns(self) -> int:
        """Wall time of its beginning (inclusive)."""
        return self.since * self.width_ns

    @property
    def until_ns(self) -> int:
        """Wall time of its end (exclusive)."""
        return (self.until + 1) * self.width_ns

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.until_ns - self.since_ns) / 1e9


def newest(board: Board) -> int:
    """The stretch of time that it is now, or was when the trace ended: of a recording, that of its last connection."""
    known = max(board.slots.newest, 0)
    if not board.contexts or board.recorded:
        return known
    return max(known, (board.ended_ns or time.time_ns()) // board.slots.width_ns)


def span_of(board: Board, state: ViewState) -> Span:
    """The time that the screen shows; it never begins before the stream did."""
    until = newest(board) if state.at is None else state.at
    since = until - state.stretches + 1
    if board.contexts:
        began = min(each.started_ns for each in board.contexts) // board.slots.width_ns
        since = max(since, min(began, until))
    return Span(since, until, board.slots.width_ns)


def time_text(board: Board, wall_ns: int) -> str:
    """``HH:MM:SS``, for a column."""
    return local_times(np.array([wall_ns]), utc=board.utc, digits=0)[0]


def clock_text(board: Board, wall_ns: int) -> str:
    """The same by itself: ``HH:MM:SSZ`` in UTC."""
    text = time_text(board, wall_ns)
    return f"{text}Z" if board.utc else text
