# SPDX-License-Identifier: Apache-2.0
"""Who carried the connection that a TIME_WAIT is of, and who closed it first: from close records.

The socket itself has forgotten. A record of the same namespace, addresses and ports belongs to it if
the connection ended when TIME_WAIT began, to a second; otherwise nobody is named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields, measures
from tracetw.event.names import KernelNames
from tracetw.event.record import BIND_KNOWN, BIND_PORT, F_TS_OK, F_TW
from tracetw.event.record import Owner as From
from tracetw.host.clock import Clock
from tracetw.host.socktable import Sockets
from tracetw.timewait.groups import codes
from tracetw.timewait.owners import TimewaitOwner
from tracetw.timewait.snapshot import Snapshot, SocketKind
from tracetw.verdict.findings import Findings

Carriers = NDArray[np.void]
"""Rows of :data:`CARRIER`."""

_KEY = ("netns", "lport", "rport", "l_hi", "l_lo", "r_hi", "r_lo")
CARRIER = np.dtype(
    [
        ("netns", "u4"),
        ("lport", "u2"),
        ("rport", "u2"),
        ("l_hi", "u8"),
        ("l_lo", "u8"),
        ("r_hi", "u8"),
        ("r_lo", "u8"),
        ("ended_ns", "i8"),  # wall time: TIME_WAIT began
        ("duration_ns", "i8"),  # -1 unknown
        ("idle_ms", "i8"),  # since the last segment of the peer, before the first FIN; -1 unknown
        ("sent", "i8"),
        ("received", "i8"),
        ("cgroup", "u8"),
        ("pid", "u4"),
        ("uid", "u4"),
        ("comm", "S16"),
        ("owner_from", "u1"),
        ("verdict", "u1"),  # index in taxonomy.VERDICTS
        ("closed_by", "u1"),  # in taxonomy.CLOSED_BY; 255 null
        ("first_close", "u1"),  # in taxonomy.FIRST_CLOSE
        ("role", "u1"),  # in fields.ROLES
        ("timestamps", "u1"),  # were negotiated
        ("bind", "u1"),  # BIND_ of bpf/record.h
    ]
)
"""The columns that the report on TIME_WAIT takes from a close record."""

_NEAR_NS = 1_000_000_000
_V4_MAPPED = np.uint64(0xFFFF << 32)
_AF_INET = 2


@dataclass(frozen=True, slots=True)
class Carried:
    """A snapshot joined with records.

    Attributes:
        record: for each socket the index of its row in ``rows``; -1 for none.
        rows: of :data:`CARRIER`.
        source: where they come from, in words.
    """

    record: NDArray[np.intp]
    rows: Carriers
    source: str

    def bound(self, part: slice) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Of sockets of the snapshot: did bind() take the local port, and is that known?"""
        record = self.record[part]
        if not len(self.rows):
            nothing = np.zeros(len(record), np.bool_)
            return nothing, nothing
        bits = np.where(record >= 0, self.rows["bind"][record], 0)
        return (bits & BIND_PORT) != 0, (bits & BIND_KNOWN) != 0

    def owner(self, row: np.void) -> TimewaitOwner | None:
        """Of a row (or of its columns ``pid``, ``uid``, ``comm``, ``owner_from``)."""
        how = int(row["owner_from"])
        if how == From.NONE:
            return None
        comm = bytes(row["comm"])
        pid = int(row["pid"])
        return TimewaitOwner(pid or None, comm or None, int(row["uid"]), From(how).name.lower())


def carriers(rows: fields.Rows, findings: Findings, clock: Clock, names: KernelNames) -> Carriers:
    """Of the close records of a batch, those that left a TIME_WAIT here."""
    left = np.flatnonzero((rows["flags"] & F_TW) != 0)
    rows, findings = rows[left], findings.take(left)
    found = np.zeros(len(rows), CARRIER)
    for name in ("netns", "lport", "rport", "cgroup", "pid", "uid", "owner_from"):
        found[name] = rows[name]
    found["comm"] = rows["comm"]
    for side, column in (("l", "laddr"), ("r", "raddr")):
        halves = np.ascontiguousarray(rows[column]).view(">u8").astype(np.uint64)
        v4 = rows["family"] == _AF_INET
        found[f"{side}_hi"] = np.where(v4, 0, halves[:, 0])
        found[f"{side}_lo"] = np.where(v4, halves[:, 0] >> np.uint64(32) | _V4_MAPPED, halves[:, 1])
    found["ended_ns"] = clock.to_wall_ns(fields.end_ns(rows))
    found["duration_ns"] = fields.duration_ns(rows)
    found["idle_ms"] = measures.idle_ms(rows, names)
    found["sent"] = fields.bytes_sent(rows)
    found["received"] = rows["bytes_received"]
    found["timestamps"] = (rows["flags"] & F_TS_OK) != 0
    found["bind"] = rows["bind"]
    found["role"] = fields.role(rows)
    for name in ("verdict", "closed_by", "first_close"):
        found[name] = getattr(findings, name)
    return found


def join(snapshot: Snapshot, rows: Carriers, source: str) -> Carried:
    """Find the record of each socket in TIME_WAIT; the newest counts where ports were used again."""
    record = np.full(len(snapshot.sockets), -1, np.intp)
    waits = np.flatnonzero(snapshot.kinds == SocketKind.TIME_WAIT)
    rows = rows[np.argsort(rows["ended_ns"], kind="stable")]
    code, count = codes(_keys(snapshot.sockets[waits], rows), _KEY)
    newest = np.full(count, -1, np.intp)
    newest[code[len(waits) :]] = np.arange(len(rows))
    mine = newest[code[: len(waits)]]
    age_ns = snapshot.age_s[waits].astype(np.float64) * 1e9
    began = snapshot.time_ns - age_ns.astype(np.int64)
    if len(rows):
        near = np.abs(rows["ended_ns"][mine] - began) <= _NEAR_NS
        record[waits] = np.where((mine >= 0) & near, mine, -1)
    return Carried(record, rows, source)


def _keys(sockets: Sockets, rows: Carriers) -> Sockets:
    """The columns that must agree, of both."""
    keys = np.empty(len(sockets) + len(rows), [(name, CARRIER[name]) for name in _KEY])
    for name in _KEY:
        keys[name][: len(sockets)] = sockets[name]
        keys[name][len(sockets) :] = rows[name]
    return keys
