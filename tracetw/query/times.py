# SPDX-License-Identifier: Apache-2.0
"""When a connection entered each of its states and how long it stayed: ``entered_ms`` and ``stayed_ms``.

Both are structures with a member for each state, so that SQL says ``entered_ms.fin_wait1``. A path that comes
to a state twice (a hostile recording's may) tells of the last time, as ``fields.time_in`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import Rows, State
from tracetw.query.arrow import struct

STATES = (
    State.SYN_SENT,
    State.SYN_RECV,
    State.ESTABLISHED,
    State.FIN_WAIT1,
    State.FIN_WAIT2,
    State.CLOSING,
    State.TIME_WAIT,
    State.CLOSE_WAIT,
    State.LAST_ACK,
    State.CLOSE,
)
"""Of a connection: a listener has no line."""
_NEVER = np.iinfo(np.int64).max
_MS = 1_000_000
_FIN_SENT = (State.FIN_WAIT1, State.LAST_ACK)


def time_columns(rows: Rows) -> dict[str, Any]:
    """Milliseconds from the first state known to each one, and from it to the next.

    Null for a state that the path does not have (``states`` has its words), and where a time is unknown.
    """
    at = np.ascontiguousarray(rows["at"].T).view(np.int64)
    start = at[0].copy()
    late = np.flatnonzero(start <= 0)
    start[late] = np.where(at[:, late] > 0, at[:, late], _NEVER).min(axis=0)
    entered: dict[int, NDArray[np.float64]] = {
        state: np.full(len(rows), np.nan) for state in STATES
    }
    stayed: dict[int, NDArray[np.float64]] = {
        state: np.full(len(rows), np.nan) for state in STATES[:-1]
    }
    paths, which = np.unique(rows["path"], return_inverse=True)
    for number, path in enumerate(paths.tolist()):
        states = fields.path_states(path)
        mine = np.flatnonzero(which == number)
        times = [column[mine] for column in at[: len(states)]]
        for place, state in enumerate(states):
            if state in entered:
                entered[state][mine] = _ms(start[mine], times[place])
            if state in stayed and place + 1 < len(states):
                stayed[state][mine] = _ms(times[place], times[place + 1])
    return {"entered_ms": _members(entered), "stayed_ms": _members(stayed)}


def _ms(begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
    """NaN where one of them is unknown or they are not in order."""
    return np.where((begin > 0) & (end >= begin), (end - begin) / _MS, np.nan)


def _members(columns: Mapping[int, NDArray[np.float64]]) -> Any:  # noqa: ANN401
    """One structure, NaN as null."""
    import pyarrow as pa  # noqa: PLC0415 (optional)

    return struct(
        {
            State(state).name.lower(): pa.array(column, from_pandas=True)
            for state, column in columns.items()
        }
    )


def died_ns(rows: Rows, ended_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Wall time when this end closed: when it sent its FIN, or else when the connection ended.

    Of a connection that its process left by dying it is the time of the death; what came after it (timers, the
    answers of the peer) may have taken minutes.

    Args:
        rows: n records.
        ended_ns: wall time of the end of each.
    """
    sent = np.maximum(*(fields.time_in(rows, state) for state in _FIN_SENT))
    end = fields.end_ns(rows)
    ago: NDArray[np.int64] = np.where((sent > 0) & (end >= sent), end - sent, 0)
    return ended_ns - ago
