# SPDX-License-Identifier: Apache-2.0
"""Subflows of MPTCP and the connection that they belong to: one line instead of several.

A subflow that ended with its connection is no line of its own: the connection's has it in a list. One that
ended while the connection went on is a line, and in the list as well. The kernel side sends the connection's
record after those of its subflows, so they only need to be remembered; a recording has them in that order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import (
    AT_CLOSED,
    CLOSE,
    MP_CONNECTION,
    MP_SUBFLOW,
    MP_WENT_ON,
    Layer,
)
from tracetw.stream.batch import Closes, Listed
from tracetw.verdict.findings import Findings

# Subflows that may wait for their connection: those that ended on their own in connections that live.
_MOST = 1 << 16
# Connections at one address that may end in one batch; a recording may claim more.
_MOST_LIVES = 16


class Subflows:
    """What is remembered from batch to batch."""

    def __init__(self) -> None:
        self._rows = np.zeros(0, CLOSE)
        self._findings: Findings | None = None

    def together(self, closes: Closes) -> Closes:
        """The same without subflows that ended with their connection, which list them."""
        rows = closes.rows
        mptcp = rows["layer"] == Layer.MPTCP
        if not mptcp.any():
            return closes
        # What hints rest on is TCP's own, of a connection that is one socket.
        closes.findings.hints[mptcp] = 0
        self._remember(closes.take(mptcp & (rows["mptcp_flags"] & MP_SUBFLOW != 0)))
        kept = closes.take(own_line(rows))
        connections = np.flatnonzero(
            (kept.rows["layer"] == Layer.MPTCP) & (kept.rows["mptcp_flags"] & MP_CONNECTION != 0)
        )
        listed = self._list(kept.rows, connections) if len(connections) else None
        return Closes(kept.rows, kept.findings, kept.clock, kept.at, listed)

    def _remember(self, subflows: Closes) -> None:
        if not len(subflows.rows):
            return
        joined = subflows.findings
        if self._findings is not None:
            joined = self._findings.joined(joined)
        most = np.arange(max(len(joined) - _MOST, 0), len(joined))
        self._findings = joined.take(most)
        self._rows = np.concatenate([self._rows, subflows.rows])[-_MOST:]

    def _list(self, rows: NDArray[np.void], connections: NDArray[np.intp]) -> Listed | None:
        """Those of these connections, which are forgotten then.

        The kernel uses the address of a socket again: a subflow that ended before the connection began was
        of another one, whose end was lost.
        """
        if self._findings is None or not len(self._rows):
            return None
        some = rows[connections]
        order = np.argsort(some["mptcp_conn"], kind="stable")
        wanted = some["mptcp_conn"][order]
        # Of several that had the same address, the first one that ended after the subflow.
        which = np.searchsorted(wanted, self._rows["mptcp_conn"])
        found = np.full(len(self._rows), -1, np.intp)
        open_ = np.arange(len(self._rows))
        for _ in range(_MOST_LIVES):
            if not len(open_):
                break
            place = which[open_]
            open_, place = open_[place < len(wanted)], place[place < len(wanted)]
            same = wanted[place] == self._rows["mptcp_conn"][open_]
            open_, place = open_[same], place[same]
            fits = _fits(self._rows[open_], some[order[place]])
            found[open_[fits]] = connections[order[place[fits]]]
            open_ = open_[~fits]
            which[open_] += 1
        mine = np.flatnonzero(found >= 0)
        mine = mine[np.argsort(found[mine], kind="stable")]
        listed = Listed(found[mine], self._rows[mine], self._findings.take(mine))
        rest = np.flatnonzero(found < 0)
        self._rows, self._findings = self._rows[rest], self._findings.take(rest)
        return listed


def own_line(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which rows (dtype ``CLOSE``) :meth:`Subflows.together` leaves: all but subflows that ended with their connection."""
    flags = rows["mptcp_flags"]
    subflow = (rows["layer"] == Layer.MPTCP) & (flags & MP_SUBFLOW != 0)
    own: NDArray[np.bool_] = ~subflow | (flags & MP_WENT_ON != 0)
    return own


def _fits(subflows: NDArray[np.void], connections: NDArray[np.void]) -> NDArray[np.bool_]:
    """Could it be a subflow of it? By token, where both have one, namespace and time."""
    token, other = subflows["mptcp_token"], connections["mptcp_token"]
    fits: NDArray[np.bool_] = subflows["netns"] == connections["netns"]
    fits &= (token == other) | (token == 0) | (other == 0)
    fits &= subflows["at"][:, AT_CLOSED] >= connections["at"][:, 0]
    return fits
