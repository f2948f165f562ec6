# SPDX-License-Identifier: Apache-2.0
"""Screen 2: connections that fail now, and when the kernel gives them up; of a recording, that failed then."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tracetw.event import fields
from tracetw.sink.human import endpoint, span
from tracetw.text import decoded, visible
from tracetw.top.board import SECOND, Board
from tracetw.top.failing_now import MOST, Failing
from tracetw.top.lines import Cell, Column, Line
from tracetw.top.span import span_of
from tracetw.top.state import Body, ListLook, ViewState, fits
from tracetw.verdict.taxonomy import VERDICTS
from tracetw.verdict.wheel import Wait

_COLUMNS = (
    Column("REMOTE", 18, 47, keep=1),
    Column("STATE", 11, keep=3),
    Column("WHAT", 14, 20, keep=2),
    Column("TRIES", 5, right=True, keep=5),
    Column("NEXT", 6, right=True, keep=6),
    Column("GIVEN UP", 11, right=True),
    Column("PROCESS", 9, 23, keep=4),
)
_SORTS = ("given up", "tries", "process", "remote")
_SOON_S, _MINUTE = 10, 60


@dataclass(frozen=True, slots=True)
class FailingRow:
    """One connection, for people.

    Attributes:
        item: its number.
        remote, state, what, process: ``visible``.
        tries: unanswered ones; None unknown.
        next_s: until the next one; None unknown.
        left: until it is given up; None unknown.
    """

    item: int
    remote: str
    state: str
    what: str
    process: str
    tries: int | None
    next_s: float | None
    left: Wait | None

    @property
    def text(self) -> str:
        """What a filter looks into."""
        return f"{self.remote} {self.state} {self.what} {self.process}".lower()


def now_rows(found: Sequence[Failing]) -> list[FailingRow]:
    """Of sockets."""
    return [
        FailingRow(
            item=each.item,
            remote=endpoint(*each.remote),
            state=fields.State(each.info.state).name,
            what=each.what,
            process=each.owner or ("" if each.info.inode else "no process"),
            tries=each.info.tries or None,
            next_s=each.info.expires_ms / 1000 if each.info.timer else None,
            left=each.left,
        )
        for each in found
    ]


def recorded_rows(board: Board, state: ViewState) -> list[FailingRow]:
    """Connections that ended later because a limit ran out, and were failing at the time looked at."""
    at = span_of(board, state).until_ns
    rows: list[FailingRow] = []
    for piece in board.abnormal.pieces():
        waited = piece.closes.findings.limit_elapsed_ms * (SECOND // 1000)
        then = (waited > 0) & (piece.at > at) & (piece.at - waited <= at)
        for place in np.flatnonzero(then)[:MOST].tolist():
            row = piece.closes.rows[place : place + 1]
            left = (int(piece.at[place]) - at) / SECOND
            address = fields.address_texts(row, "raddr")[0]
            comm, pid = visible(decoded(bytes(row["comm"][0]))), int(row["pid"][0])
            names = piece.context.names.tcp_states
            old = int(row["old_state"][0])
            rows.append(
                FailingRow(
                    item=int(piece.numbers[place]),
                    remote=endpoint(address, int(row["rport"][0])),
                    state=visible(names.get(old, str(old))),
                    what=VERDICTS[int(piece.closes.findings.verdict[place])].code,
                    process=f"{comm or '-'}/{pid}" if pid else comm,
                    tries=None,
                    next_s=None,
                    left=Wait(left, left),
                )
            )
    return sorted(rows, key=_soonest)[:MOST]


def rows_body(
    rows: Sequence[FailingRow], state: ViewState, head: Sequence[Line], empty: str
) -> Body:
    """The screen of these rows."""
    chosen = [row for row in rows if fits(row.text, state.filter)]
    look = state.looks.get("failing", ListLook())
    chosen.sort(key=_ORDERS[_SORTS[look.sort]], reverse=look.backwards)
    places = {row.item: at for at, row in enumerate(chosen)}
    return Body(
        head,
        _COLUMNS,
        len(chosen),
        lambda at: _cells(chosen[at]),
        lambda at: chosen[at].item,
        places.get,
        _SORTS,
        empty if not rows else "nothing that fails fits the filter",
    )


def _soonest(row: FailingRow) -> tuple[bool, float]:
    return row.left is None, math.inf if row.left is None else row.left.least_s


_ORDERS: dict[str, Callable[[FailingRow], tuple[bool, float, str]]] = {
    "given up": lambda row: (*_soonest(row), row.remote),
    "tries": lambda row: (False, -(row.tries or 0), row.remote),
    "process": lambda row: (False, 0, row.process),
    "remote": lambda row: (False, 0, row.remote),
}


def _cells(row: FailingRow) -> tuple[Cell, ...]:
    return (
        (row.remote, ""),
        (row.state, "dim"),
        (row.what, "odd" if row.what == "no FIN of peer" else "bad"),
        ("-" if row.tries is None else str(row.tries), ""),
        ("-" if row.next_s is None else _time(row.next_s), "dim"),
        _left(row.left),
        (row.process or "-", ""),
    )


def _left(left: Wait | None) -> Cell:
    if left is None:
        return ("unknown", "dim")
    if math.isinf(left.least_s):
        return ("never", "odd")
    tone = "worst" if left.least_s < _SOON_S else "bad"
    return (_between(left), tone)


def _between(left: Wait) -> str:
    """One time where the two are nearly the same."""
    if left.most_s - left.least_s < max(1.0, left.least_s / 20):
        return _time(left.least_s)
    if left.most_s < _MINUTE:
        return f"{left.least_s:.0f}-{left.most_s:.0f}s"
    return f"{_time(left.least_s)}-{_time(left.most_s)}"


def _time(seconds: float) -> str:
    """Tenths only below ten seconds."""
    if seconds < _MINUTE:
        return f"{seconds:.1f}s" if seconds < _SOON_S else f"{seconds:.0f}s"
    return span(round(seconds) * SECOND)
