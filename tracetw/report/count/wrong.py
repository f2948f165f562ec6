# SPDX-License-Identifier: Apache-2.0
"""What went wrong with a connection, and when its first sign was: the rows that incidents are made of.

When a timer gives up says little of when something broke, so a row counts at the moment of its sign:
a death when the process let go of the connection, an attempt to connect when it began, data that waited for a closed
window when the probes of that window began.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import State
from tracetw.event.names import KernelNames
from tracetw.report.count.cube import NEVER
from tracetw.report.count.keys import PULSE, SECOND, addresses, fill
from tracetw.report.count.slots import Slots
from tracetw.stream.batch import Closes
from tracetw.verdict.hints import HINT_BIT
from tracetw.verdict.taxonomy import CLOSED_BY, FORMS, VERDICT_INDEX, VERDICTS

ABNORMAL = np.array([verdict.abnormal for verdict in VERDICTS])
"""Verdicts that somebody should look at."""
CRASHES = np.zeros(256, np.bool_)
"""Values of ``closed_by``: a process died."""
CRASHES[[CLOSED_BY.index("process-crash"), CLOSED_BY.index("oom-kill")]] = True

SIGNS = {
    name: 1 << bit
    for bit, name in enumerate(
        (
            "forgotten-on-the-path",
            "keepalive-race",
            "idle-timeout",
            "nothing-ever-acknowledged",
            "reset-before-accept",
            "window-closed",
            "gave-up",
            "both-ends",
            "both-timed-out",
        )
    )
}
"""Bits of ``signs``: hints of that name; data waited for a closed window; an application gave up
an attempt to connect that nobody had answered; both ends were recorded, and both waited in vain."""

_HINTED = [name for name in SIGNS if name in HINT_BIT]
_TIMEOUT = FORMS.index("timeout")
_ATTEMPTS = np.zeros(256, np.bool_)
_ATTEMPTS[[VERDICT_INDEX["connect-timeout"], VERDICT_INDEX["connect-aborted"]]] = True
# These may come late: an error by ICMP is dropped while connect() holds the lock (tcp_v4_err).
_LATE = np.zeros(256, np.bool_)
_LATE[[VERDICT_INDEX["connect-refused"], VERDICT_INDEX["unreachable"]]] = True
_GIVEN_UP = VERDICT_INDEX["connect-aborted"]
# Without a second SYN after this time (TCP_TIMEOUT_INIT) nobody had answered; a race of addresses is faster.
_UNANSWERED_NS = SECOND * 9 // 10
_FULL_SEGMENT = 536


@dataclass(frozen=True, slots=True)
class Wrong:
    """Rows of a batch.

    Attributes:
        which: their places in it.
        keys: of dtype ``PULSE``.
        at: when the first sign of each was, nanoseconds since 1970.
        heard: when each last heard of a peer that fell silent; ``NEVER`` for others.
    """

    which: NDArray[np.intp]
    keys: NDArray[Any]
    at: NDArray[np.int64]
    heard: NDArray[np.int64]

    def of(self, chosen: NDArray[np.bool_]) -> Wrong:
        """Some of them."""
        return Wrong(self.which[chosen], self.keys[chosen], self.at[chosen], self.heard[chosen])


def wrong(part: Closes, keys: NDArray[Any], slots: Slots, names: KernelNames) -> Wrong:
    """What went wrong in a batch with its keys of dtype ``CELL``."""
    findings = part.findings
    chosen = ABNORMAL[findings.verdict] | CRASHES[findings.closed_by]
    given_up = findings.verdict == _GIVEN_UP
    if given_up.any():
        lasted = fields.duration_ns(part.rows)
        chosen |= given_up & (lasted >= _UNANSWERED_NS) & (part.rows["old_state"] == State.SYN_SENT)
    which = np.flatnonzero(chosen)
    rows, at = part.rows[which], part.at[which].copy()
    some = findings.take(which)
    dead = CRASHES[some.closed_by]
    if dead.any():
        at[dead] -= np.maximum(fields.teardown_ns(rows[dead]), 0)
    attempt = _ATTEMPTS[some.verdict]
    attempt |= _LATE[some.verdict] & (rows["old_state"] == State.SYN_SENT)
    if attempt.any():
        lasted = np.maximum(fields.duration_ns(rows), 0)
        attempt &= _ATTEMPTS[some.verdict] | (lasted >= _UNANSWERED_NS)
        at[attempt] -= lasted[attempt]
    made = fill(PULSE, keys[which], exit=np.where(dead, rows["exit_code"], 0))
    made["signs"] = signs = _signs(rows, some.hints, given_up[which])
    shut = (signs & np.uint16(SIGNS["window-closed"])) != 0
    at[shut] -= fields.jiffies_to_ms(rows["probing"][shut], names) * (SECOND // 1000)
    quiet = fields.jiffies_to_ms(rows["idle"], names) * (SECOND // 1000)
    timeout = (some.form == _TIMEOUT) & (quiet > 0) & ~attempt
    made["slot"] = slots.of(at)
    made["here_hi"], made["here_lo"] = addresses(rows, "laddr")
    return Wrong(which, made, at, np.where(timeout, at - quiet, NEVER))


def _signs(
    rows: NDArray[Any], hints: NDArray[np.uint32], given_up: NDArray[np.bool_]
) -> NDArray[np.uint16]:
    signs = np.zeros(len(rows), np.uint16)
    for name in _HINTED:
        signs[(hints & np.uint32(HINT_BIT[name])) != 0] |= np.uint16(SIGNS[name])
    # Data waits, and the window has no room for a segment of it (tcp_write_xmit, tcp_snd_wnd_test).
    room = rows["snd_wnd"].astype(np.int64) - fields.outstanding(rows)
    segment = np.where(rows["mss"] > 0, rows["mss"], _FULL_SEGMENT)
    signs[(fields.unsent(rows) > 1) & (room < segment)] |= np.uint16(SIGNS["window-closed"])
    signs[given_up] |= np.uint16(SIGNS["gave-up"])
    return signs
