# SPDX-License-Identifier: Apache-2.0
"""The last connections in full, for their lists and stories: bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tracetw.stream.batch import Closes, Context
from tracetw.verdict.findings import Findings

_SHARE = 8
"""A single batch may take so much of the room: 1 / 8."""
_PIECE = 512
"""Rows of pieces that are joined: connections mostly end one by one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Connections that came together.

    Attributes:
        closes: them.
        at: when they ended, wall time in ns by the clock of the screen.
        marks: ``groups.marks_of`` their keys.
        numbers: which they are, counted from the beginning.
        context: what they are about.
    """

    closes: Closes
    at: NDArray[np.int64]
    marks: NDArray[np.uint64]
    numbers: NDArray[np.int64]
    context: Context


class LastRows:
    """The last rows of a stream.

    Args:
        most: connections.

    Attributes:
        since_ns: nothing that ended later than this was forgotten; 0 when nothing was.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: deque[Piece] = deque()
        self._rows = 0
        self.since_ns = 0

    def chosen(self, at: NDArray[np.int64], which: NDArray[np.intp]) -> NDArray[np.intp]:
        """The last of these rows of a batch, at most a part of the room; the others are forgotten."""
        left = max(len(which) - self._most // _SHARE, 0)
        self._forgotten(at[which[:left]])
        return which[left:]

    def add(self, piece: Piece) -> None:
        """Rows that were chosen."""
        self._rows += len(piece.at)
        last = self._pieces[-1] if self._pieces else None
        if last is not None and _together(last, piece):
            self._pieces[-1] = _joined(last, piece)
        else:
            self._pieces.append(piece)
        while self._rows > self._most:
            old = self._pieces.popleft()
            self._rows -= len(old.at)
            self._forgotten(old.at)

    def pieces(self) -> Sequence[Piece]:
        """From the oldest to the newest."""
        return tuple(self._pieces)

    def _forgotten(self, at: NDArray[np.int64]) -> None:
        if len(at):
            self.since_ns = max(self.since_ns, int(at.max()))


def _together(one: Piece, other: Piece) -> bool:
    few = len(one.at) + len(other.at) <= _PIECE
    plain = one.closes.subflows is None and other.closes.subflows is None
    return few and plain and one.context is other.context and one.closes.clock == other.closes.clock


def _joined(one: Piece, other: Piece) -> Piece:
    both = (one.closes, other.closes)
    findings = Findings(
        **{
            field.name: np.concatenate([getattr(each.findings, field.name) for each in both])
            for field in fields(Findings)
        }
    )
    # Field by field it would take ten times as long.
    raw = [np.ascontiguousarray(each.rows).view(f"V{each.rows.dtype.itemsize}") for each in both]
    return Piece(
        Closes(
            np.concatenate(raw).view(one.closes.rows.dtype),
            findings,
            one.closes.clock,
            np.concatenate([each.at for each in both]),
        ),
        np.concatenate([one.at, other.at]),
        np.concatenate([one.marks, other.marks]),
        np.concatenate([one.numbers, other.numbers]),
        one.context,
    )
