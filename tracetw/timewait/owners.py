# SPDX-License-Identifier: Apache-2.0
"""Whose sockets these are, as far as the host tells: who holds one, who listens on its port.

A timewait socket has no owner any more. Of a server's, the process that listens on the port now
is named, and the answer says so; of a client's only a recording can tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from tracetw.host.holders import holders, process
from tracetw.host.listeners import common
from tracetw.timewait.snapshot import Snapshot, SocketKind


class TimewaitOwner(NamedTuple):
    """A process; None each where it is not known.

    ``how`` is ``holds`` (the descriptor), ``listens`` (on the local port), or as ``owner_from`` of a record.
    """

    pid: int | None
    comm: bytes | None
    uid: int | None
    how: str


class TimewaitOwners:
    """Owners of sockets of a snapshot: the first question looks all of them up, in one pass over /proc.

    Args:
        snapshot: where they are.
        inodes: sockets to look up besides the listeners.
    """

    def __init__(self, snapshot: Snapshot, inodes: Iterable[int] = ()) -> None:
        listeners = snapshot.sockets[snapshot.kinds == SocketKind.LISTEN]
        self._ports: dict[tuple[int, int], set[int]] = {}
        for netns, port, inode in listeners[["netns", "lport", "inode"]].tolist():
            self._ports.setdefault((netns, port), set()).add(inode)
        self._inodes = frozenset(inodes)
        self._known: dict[frozenset[int], TimewaitOwner] = {}

    def of_port(self, netns: int, port: int) -> TimewaitOwner | None:
        """Who listens there; None when nobody does, or it cannot be seen."""
        inodes = self._ports.get((netns, port), set())
        if not inodes:
            return None
        return self._owner(
            {pid for each in inodes for pid in self._holders.get(each, ())}, "listens"
        )

    def of_inode(self, inode: int) -> TimewaitOwner | None:
        """Who holds a socket that was asked for; None when nobody does, or it cannot be seen."""
        if inode not in self._inodes:
            return None
        return self._owner(set(self._holders.get(inode, ())), "holds")

    @cached_property
    def _holders(self) -> dict[int, list[int]]:
        listeners = (inode for inodes in self._ports.values() for inode in inodes)
        return holders({*self._inodes, *listeners} - {0})

    def _owner(self, pids: set[int], how: str) -> TimewaitOwner | None:
        if not pids:
            return None
        key = frozenset(pids)
        if key not in self._known:
            shared = common([process(pid) for pid in sorted(pids)])
            self._known[key] = TimewaitOwner(shared.pid, shared.comm, shared.uid, how)
        return self._known[key]._replace(how=how)
