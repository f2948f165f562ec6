# SPDX-License-Identifier: Apache-2.0
"""Screen 4 without a connection: the last ones that ended, to choose one from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.record import F_ADDR
from tracetw.sink.human import endpoint, span
from tracetw.stream.batch import Closes, Context
from tracetw.text import decoded, visible
from tracetw.top.board import Board
from tracetw.top.closes import GroupTexts
from tracetw.top.groups import keys_of
from tracetw.top.kept import Piece
from tracetw.top.lines import Cell, Column, Line
from tracetw.top.span import clock_text, span_of, time_text
from tracetw.top.state import Body, ViewState
from tracetw.verdict.taxonomy import FIRST_CLOSE, VERDICTS

_COLUMNS = (
    Column("TIME", 8, keep=2),
    Column("LOCAL", 17, 30, keep=4),
    Column("", 1, keep=4),
    Column("REMOTE", 17, 30, keep=1),
    Column("PROCESS", 12, 23, keep=3),
    Column("VERDICT", 20, 22),
    Column("LIVED", 7, right=True, keep=6),
)
_SORTS = ("time", "duration")
_MARKS = {"local": ">", "remote": "<", "both": "=", "none": "!"}


@dataclass(frozen=True, slots=True)
class KeptConnection:
    """One connection in memory: a batch of one, and its context."""

    closes: Closes
    context: Context


def find(board: Board, number: int) -> KeptConnection | None:
    """The connection of this number; None when it is no longer kept."""
    for piece in board.pieces():
        place = int(np.searchsorted(piece.numbers, number))
        if place < len(piece.numbers) and piece.numbers[place] == number:
            return KeptConnection(piece.closes.take(np.array([place])), piece.context)
    return None


def connections_body(board: Board, state: ViewState, names: GroupTexts) -> Body:
    """The connections of the time shown, the last one first."""
    time = span_of(board, state)
    pieces = board.pieces()
    chosen = [_chosen(piece, state, names, time.since_ns, time.until_ns) for piece in pieces]
    index = np.repeat(np.arange(len(pieces)), [len(each) for each in chosen])
    place = _joined(chosen)
    numbers = _joined([piece.numbers[each] for piece, each in zip(pieces, chosen, strict=True)])
    look = state.looks.get("connections")
    if look is not None and _SORTS[look.sort] == "duration":
        lived = [
            fields.duration_ns(piece.closes.rows[each])
            for piece, each in zip(pieces, chosen, strict=True)
        ]
        order = np.lexsort((-numbers, -_joined(lived)))
    else:
        at = _joined([piece.at[each] for piece, each in zip(pieces, chosen, strict=True)])
        order = np.lexsort((-numbers, -at))
    order = order[::-1] if look is not None and look.backwards else order

    def line(at: int) -> Sequence[Cell]:
        piece = pieces[int(index[order[at]])]
        return _line(board, piece, int(place[order[at]]))

    def find_number(number: int) -> int | None:
        places = np.flatnonzero(numbers[order] == number)
        return int(places[0]) if len(places) else None

    return Body(
        [*_head(board, state, names, time.since_ns)],
        _COLUMNS,
        len(order),
        line,
        lambda at: int(numbers[order[at]]),
        find_number,
        _SORTS,
        "no connection in memory ended in this time" + (" and fits" if state.filter else ""),
    )


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _chosen(
    piece: Piece, state: ViewState, names: GroupTexts, since_ns: int, until_ns: int
) -> NDArray[np.int64]:
    keep = (piece.at >= since_ns) & (piece.at < until_ns)
    if state.group is not None:
        keep &= piece.marks == np.uint64(state.group)
    which = np.flatnonzero(keep)
    if state.filter and len(which):
        keys = keys_of(piece.closes.take(which))
        which = which[names.matching(state.filter, piece.marks[which], keys)]
    return which


def _head(board: Board, state: ViewState, names: GroupTexts, since_ns: int) -> list[Line]:
    lines: list[Line] = []
    if state.group is not None:
        lines.append((("group: ", "dim"), (names.text(state.group), "key")))
    forgotten = max(board.abnormal.since_ns, 0)
    if forgotten >= since_ns:
        lines.append(
            (
                (
                    f"memory holds the last ones only: not all of before {clock_text(board, forgotten)}",
                    "odd",
                ),
            )
        )
    elif board.ordinary.since_ns >= since_ns:
        when = clock_text(board, board.ordinary.since_ns)
        lines.append(((f"memory does not hold all that ended orderly before {when}", "dim"),))
    return lines


def _line(board: Board, piece: Piece, place: int) -> Sequence[Cell]:
    rows = piece.closes.rows[place : place + 1]
    row = rows[0]
    findings = piece.closes.findings
    verdict = VERDICTS[int(findings.verdict[place])]
    known = int(row["flags"]) & F_ADDR
    local, remote = (
        endpoint(fields.address_texts(rows, address)[0], int(row[port])) if known else "-"
        for address, port in (("laddr", "lport"), ("raddr", "rport"))
    )
    comm, pid = visible(decoded(bytes(row["comm"]))), int(row["pid"])
    lived = int(fields.duration_ns(rows)[0])
    tone = "odd" if verdict.code == "undetermined" else ("bad" if verdict.abnormal else "good")
    return (
        (time_text(board, int(piece.at[place])), "dim"),
        (local, ""),
        (_MARKS[FIRST_CLOSE[int(findings.first_close[place])]], ""),
        (remote, ""),
        ((f"{comm or '-'}/{pid}" if pid else comm or "-"), ""),
        (verdict.code, tone),
        (span(lived) if lived >= 0 else "-", ""),
    )
