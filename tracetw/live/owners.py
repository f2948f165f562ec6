# SPDX-License-Identifier: Apache-2.0
"""Owners that the BPF programs could not know: found on the host, or unknown."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows, State, end_ns
from tracetw.event.record import (
    F_DEAD,
    F_KTHREAD,
    F_SERVER,
    F_SOCKET,
    MP_LET_GO,
    End,
    EventKind,
    Owner,
)
from tracetw.host import holders
from tracetw.host.listeners import Listeners

_COMM = 15  # TASK_COMM_LEN without its final zero
# As plain numbers: to compare an array with a member of an enum takes five times as long.
_PENDING, _FULL = int(End.PENDING), int(End.FULL)
_NONE, _CLOSE, _KERNEL = int(Owner.NONE), int(Owner.CLOSE), int(Owner.KERNEL)


def resolve(rows: Rows, listeners: Listeners | None) -> Rows:
    """The rows with pid, comm and ``owner_from`` filled in where something can be known.

    Looks for a socket that its application still holds among the descriptors of all processes; one that
    nobody has accepted yet belongs to the listener. Where it cannot look for the socket, the process that
    called connect() stays the owner. Anything else stays unknown: a guess would be worse. Without
    ``listeners`` it returns the rows as they are.
    """
    if listeners is None:
        return rows
    ends, known = rows["end"], rows["owner_from"]
    # Few are one of these; only their other fields are read.
    some = np.flatnonzero((ends == _PENDING) | (ends == _FULL) | (known == _NONE))
    some = some[_may_be_held(rows, some)]
    if not len(some):
        return rows
    rows = rows.copy()
    ended = zip(rows["inode"][some].tolist(), end_ns(rows[some]).tolist(), strict=True)
    owners = holders.owners_by_inode({inode: at for inode, at in ended if inode})
    for index in some:
        row = rows[index]
        owner = owners.get(int(row["inode"]))
        if owner is not None:
            _put(rows, index, owner.pid, owner.comm, Owner.DIAG)
        elif not row["flags"] & F_SOCKET and row["flags"] & F_SERVER:
            listener = listeners.owner(int(row["netns"]), int(row["lport"]), time.monotonic())
            _put(rows, index, listener.pid, listener.comm, Owner.LISTENER)
        elif row["inode"] or row["owner_from"] != Owner.CONNECT:
            _put(rows, index, None, None, Owner.NONE)

    return rows


def _may_be_held(rows: Rows, some: NDArray[np.intp]) -> NDArray[np.bool_]:
    """By what these records say: the application may have the socket open, or nobody has accepted it yet."""
    ends, known, flags = (rows[name][some] for name in ("end", "owner_from", "flags"))
    # What found no room to wait may still be held, too.
    waits: NDArray[np.bool_] = (ends == _PENDING) | ((ends == _FULL) & (known != _CLOSE))
    # An MPTCP subflow is closed by a kernel thread while its application has the socket open.
    waits |= (known == _NONE) & (flags & F_KTHREAD != 0) & (rows["inode"][some] != 0)
    waits &= (flags & F_DEAD == 0) & (known != _KERNEL)
    # A connection of MPTCP that its application has closed waits for its subflows only.
    waits &= rows["mptcp_flags"][some] & MP_LET_GO == 0
    return waits


def resolve_events(rows: Rows, listeners: Listeners | None) -> Rows:
    """The rows, with the process that listens where a segment was dropped that met a listener."""
    at_listener = (rows["kind"] == EventKind.DROP) & (rows["from"] == State.LISTEN)
    which = np.flatnonzero(at_listener & (rows["pid"] == 0))
    if listeners is None or not len(which):
        return rows
    rows = rows.copy()
    now = time.monotonic()
    for index in which:
        listener = listeners.owner(int(rows["netns"][index]), int(rows["lport"][index]), now)
        _put(rows, index, listener.pid, listener.comm, Owner.LISTENER)
    return rows


def _put(rows: Rows, index: np.intp, pid: int | None, comm: bytes | None, how: Owner) -> None:
    if pid != rows["pid"][index]:
        rows["cgroup"][index] = 0
    rows["pid"][index] = pid or 0
    rows["comm"][index] = comm[:_COMM] if comm else b""
    rows["owner_from"][index] = how if pid or comm else Owner.NONE
