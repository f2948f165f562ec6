# SPDX-License-Identifier: Apache-2.0
"""Owners that the kernel side could not tell: found on the host, or left unknown."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import end_ns
from tracetw.event.record import F_DEAD, F_SERVER, F_SOCKET, End, Owner
from tracetw.host import process
from tracetw.host.listeners import Listeners

__all__ = ["named", "resolve"]

Rows = NDArray[np.void]

_COMM = 15  # TASK_COMM_LEN without its final zero


def resolve(rows: Rows, listeners: Listeners | None) -> Rows:
    """The rows with pid, comm and ``owner_from`` filled in where something can be known.

    A socket that its application still holds is looked for among the descriptors of all processes;
    one that nobody has accepted yet belongs to the listener. What connect() told needs only the
    name. Anything else stays unknown: a guess would be worse. Without ``listeners`` nothing is
    looked up.
    """
    if listeners is None or (rows["owner_from"] == Owner.CLOSE).all():
        return rows
    rows = rows.copy()
    for index in np.flatnonzero(rows["owner_from"] == Owner.CONNECT):
        if rows["end"][index] != End.PENDING or not rows["inode"][index]:
            name = process.comm(int(rows["pid"][index]))
            rows["comm"][index] = name[:_COMM] if name else b""
    held = np.flatnonzero((rows["end"] == End.PENDING) & (rows["flags"] & F_DEAD == 0))
    if not len(held):
        return rows
    ended = zip(rows["inode"][held].tolist(), end_ns(rows[held]).tolist(), strict=True)
    owners = process.owners_by_inode({inode: at for inode, at in ended if inode})
    for index in held:
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


def named(rows: Rows) -> Rows:
    """Single events with the names of owners that are known by their pid alone."""
    nameless = (rows["pid"] != 0) & (rows["comm"] == b"")
    if not nameless.any():
        return rows
    rows = rows.copy()
    for pid in np.unique(rows["pid"][nameless]):
        name = process.comm(int(pid))
        rows["comm"][nameless & (rows["pid"] == pid)] = name[:_COMM] if name else b""
    return rows


def _put(rows: Rows, index: np.intp, pid: int | None, comm: bytes | None, how: Owner) -> None:
    rows["pid"][index] = pid or 0
    rows["comm"][index] = comm[:_COMM] if comm else b""
    rows["owner_from"][index] = how if pid or comm else Owner.NONE
