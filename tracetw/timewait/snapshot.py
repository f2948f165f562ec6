# SPDX-License-Identifier: Apache-2.0
"""One look at every TCP socket of every network namespace, through sock_diag alone."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import BadInput, Failed
from tracetw.event.fields import State
from tracetw.host import netns as namespaces
from tracetw.host import socktable
from tracetw.host.netns import Netns
from tracetw.host.socktable import Sockets
from tracetw.timewait.settings import TIME_WAIT_S, Settings

TIMEWAIT_TIMER = 3
"""``timer`` of a timewait socket (inet_twsk_diag_fill()); all others are full sockets."""


_ORPHANS = 1 << State.FIN_WAIT1 | 1 << State.CLOSING | 1 << State.LAST_ACK


class SocketKind(IntEnum):
    """What a socket is here."""

    LIVE = 0
    TIME_WAIT = 1
    FIN_WAIT2_ORPHAN = 2
    """No process holds it: it ends with tcp_fin_timeout or TCP_LINGER2."""
    FIN_WAIT2_OWNED = 3
    """shutdown() without close(): it has no limit."""
    FIN_WAIT1_ORPHAN = 4
    CLOSING_ORPHAN = 5
    LAST_ACK_ORPHAN = 6
    LISTEN = 7
    BOUND = 8
    """Only bind() has seen it; kernels before 6.8 do not show it."""


@dataclass(frozen=True, slots=True)
class Space:
    """A network namespace: which, what it is called, and its settings."""

    netns: int
    name: str | None
    settings: Settings


@dataclass(frozen=True)
class Snapshot:
    """One look at the host.

    Attributes:
        time_ns: wall time, nanoseconds since 1970.
        monotonic_ns: the same moment of CLOCK_MONOTONIC.
        host_netns: the caller's namespace.
        sockets: rows of ``socktable.SOCKET``, all namespaces one after the other.
        spaces: by inode.
        unread: namespaces that are there and could not be read, with the reason.
        unsent: of orphans in FIN_WAIT1, CLOSING and LAST_ACK, by cookie: bytes that were never sent, with
            a FIN that waits behind them.
    """

    time_ns: int
    monotonic_ns: int
    host_netns: int
    sockets: Sockets
    spaces: dict[int, Space]
    unread: dict[int, str] = field(default_factory=dict)
    unsent: dict[int, int] = field(default_factory=dict)

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """:class:`SocketKind` of each socket."""
        return kinds(self.sockets)

    @cached_property
    def listening(self) -> NDArray[np.bool_]:
        """Does a listener of its namespace have the local port of a socket? Shape as ``sockets``."""
        rows = self.sockets
        listens = self.kinds == SocketKind.LISTEN
        # A namespace and a port are one number of 48 bits.
        return np.isin(_ports(rows), np.unique(_ports(rows[listens])))

    @cached_property
    def parts(self) -> dict[int, slice]:
        """The rows of each namespace that has sockets: they stand together."""
        order = self.sockets["netns"]
        if not len(order):
            return {}
        edges = [0, *(np.flatnonzero(np.diff(order)) + 1).tolist(), len(order)]
        return {int(order[first]): slice(first, last) for first, last in pairwise(edges)}

    @cached_property
    def age_s(self) -> NDArray[np.float32]:
        """Seconds since a timewait socket in TIME_WAIT was made, or saw the peer's FIN again.

        NaN for all others. 60 s and more after its timer ran out: the timer wheel fires later.
        """
        age = np.float32(TIME_WAIT_S) - self.sockets["expires"].astype(np.float32) / np.float32(
            1000
        )
        age[self.kinds != SocketKind.TIME_WAIT] = np.nan
        return age


def take(wanted: int | None = None) -> Snapshot:
    """Look at every namespace of this host, or at the one with inode ``wanted``.

    Without CAP_SYS_ADMIN only the caller's own can be read: the others are in ``unread``. Raises
    OSError when the kernel lacks inet_diag, BadInput when nothing leads to ``wanted``, Failed when it
    has gone meanwhile.
    """
    now, monotonic = time.time_ns(), time.monotonic_ns()
    home = namespaces.current()
    found = namespaces.find()
    names = {inode: each.name for inode, each in found.items()}
    if wanted is not None and wanted not in {home, *found}:
        raise BadInput(*namespaces.unreachable(wanted))
    chosen = [each for inode, each in found.items() if wanted in {None, inode}]
    read: dict[int, _Look] = {}
    if wanted in {None, home}:
        read[home] = _look(home)
    others = [each for each in chosen if each.inode != home]
    read.update(_visit(others))
    after = namespaces.find() if len(read) < len({home, *found}) else found
    unread = {
        each.inode: "it cannot be entered (CAP_SYS_ADMIN)"
        for each in chosen
        if each.inode not in read and each.inode in after
    }
    if wanted is not None and not read and not unread:
        raise Failed(*namespaces.gone(wanted))
    parts = [each.sockets for each in read.values()]
    return Snapshot(
        time_ns=now,
        monotonic_ns=monotonic,
        host_netns=home,
        sockets=parts[0] if len(parts) == 1 else _joined(parts),
        spaces={
            inode: Space(inode, names.get(inode), each.settings) for inode, each in read.items()
        },
        unread=unread,
        unsent={cookie: count for each in read.values() for cookie, count in each.unsent.items()},
    )


def kinds(rows: Sockets) -> NDArray[np.uint8]:
    """:class:`SocketKind` of each row."""
    state, orphan = rows["state"], rows["inode"] == 0
    kind = np.zeros(len(rows), np.uint8)
    kind[state == State.TIME_WAIT] = SocketKind.TIME_WAIT
    half = state == State.FIN_WAIT2
    kind[half] = np.where(orphan[half], SocketKind.FIN_WAIT2_ORPHAN, SocketKind.FIN_WAIT2_OWNED)
    for wanted, what in (
        (State.FIN_WAIT1, SocketKind.FIN_WAIT1_ORPHAN),
        (State.CLOSING, SocketKind.CLOSING_ORPHAN),
        (State.LAST_ACK, SocketKind.LAST_ACK_ORPHAN),
    ):
        kind[(state == wanted) & orphan] = what
    kind[state == State.LISTEN] = SocketKind.LISTEN
    kind[state == State.CLOSE] = SocketKind.BOUND
    return kind


def seconds_left(rows: Sockets, which: NDArray[np.intp]) -> NDArray[np.float64]:
    """Until the timer of a timewait socket ends it; NaN for a full socket, whose timer is another.

    Of the rows ``which``.
    """
    left = rows["expires"][which] / 1000
    left[rows["timer"][which] != TIMEWAIT_TIMER] = np.nan
    return left


class _Look(NamedTuple):
    """What one namespace told."""

    sockets: Sockets
    settings: Settings
    unsent: dict[int, int]


def _look(netns: int) -> _Look:
    sockets = socktable.here(netns)
    kind = kinds(sockets)
    orphans = ((kind >= SocketKind.FIN_WAIT1_ORPHAN) & (kind <= SocketKind.LAST_ACK_ORPHAN)).any()
    return _Look(sockets, Settings.here(), socktable.unsent(_ORPHANS) if orphans else {})


def _visit(others: Iterable[Netns]) -> dict[int, _Look]:
    return namespaces.visit(others, lambda: _look(namespaces.current()))


def _joined(parts: list[Sockets]) -> Sockets:
    return np.concatenate(parts) if parts else np.empty(0, socktable.SOCKET)


def _ports(rows: Sockets) -> NDArray[np.uint64]:
    key: NDArray[np.uint64] = rows["netns"].astype(np.uint64) << np.uint64(16) | rows["lport"]
    return key
