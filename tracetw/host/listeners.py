# SPDX-License-Identifier: Apache-2.0
"""Who listens on a port: the owner of accepted connections that the kernel side could not name."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tracetw.event.fields import State
from tracetw.host import netns as namespaces
from tracetw.host import socktable
from tracetw.host.holders import Process, holders, process
from tracetw.host.netns import Netns
from tracetw.host.socktable import Sockets

_TTL_S = 1.0
_SHARE = 0.05  # of one CPU
_BURST_S = 0.5
_LISTEN = "0A"
_LOCAL, _STATE, _INODE = 1, 3, 9  # columns of /proc/net/tcp


class Listener(NamedTuple):
    """What is known of the process behind a port; None each where it is not known for certain.

    Several processes on one port (pre-fork servers, SO_REUSEPORT) have no common ``pid``, but
    often a common ``comm`` and ``uid``.
    """

    pid: int | None
    comm: bytes | None
    uid: int | None


UNKNOWN = Listener(None, None, None)


@dataclass(frozen=True, slots=True)
class _Ports:
    read_s: float
    ports: dict[int, Listener]


class Listeners:
    """Listeners by namespace and port, each namespace read at most once in ``ttl_s`` seconds.

    To find the holders takes a look at every descriptor of the host. Where that takes long the
    answers get older (or are missing) rather than take more than 5 % of a CPU on average.
    """

    def __init__(self, ttl_s: float = _TTL_S) -> None:
        self._ttl_s = ttl_s
        self._known: dict[int, _Ports] = {}
        self._budget_s = _BURST_S
        self._asked_s: float | None = None

    def owner(self, netns: int, port: int, now_s: float) -> Listener:
        """The process that listens on ``port`` (host order) in the namespace with this inode.

        ``now_s`` is any clock that does not go back. :data:`UNKNOWN` when nothing listens there,
        or /proc does not show which process does.
        """
        idle_s = now_s - (now_s if self._asked_s is None else self._asked_s)
        self._asked_s = now_s
        self._budget_s = min(_BURST_S, self._budget_s + idle_s * _SHARE)
        known = self._known.get(netns)
        if (known is None or now_s - known.read_s >= self._ttl_s) and self._budget_s > 0:
            known = self._refresh(netns, now_s)
        return UNKNOWN if known is None else known.ports.get(port, UNKNOWN)

    def _refresh(self, netns: int, now_s: float) -> _Ports:
        begun = time.thread_time()
        fresh = _Ports(now_s, _read(netns))
        self._budget_s -= time.thread_time() - begun
        self._known = {
            inode: ports
            for inode, ports in self._known.items()
            if now_s - ports.read_s < self._ttl_s
        }
        self._known[netns] = fresh
        return fresh


def listening(lines: Iterable[str]) -> dict[int, set[int]]:
    """Local port to socket inodes, from lines of ``/proc/net/tcp`` or ``tcp6``.

    Stops at the first connection: ``tcp_seq_start`` lists the listeners first.
    """
    ports: dict[int, set[int]] = {}
    for line in lines:
        fields = line.split()
        if len(fields) > _INODE and fields[_STATE] == _LISTEN:
            port = int(fields[_LOCAL].rpartition(":")[2], 16)
            ports.setdefault(port, set()).add(int(fields[_INODE]))
        elif fields[:1] != ["sl"]:  # the header
            break
    return ports


def _read(netns: int) -> dict[int, Listener]:
    where = namespaces.find().get(netns)
    if where is None:
        return {}
    ports = _inodes(where)
    pids = holders({inode for inodes in ports.values() for inode in inodes})
    known = {pid: process(pid) for pid in {pid for each in pids.values() for pid in each}}
    return {
        port: common([known[pid] for inode in inodes for pid in pids.get(inode, ())])
        for port, inodes in ports.items()
    }


def _inodes(where: Netns) -> dict[int, set[int]]:
    """Sockets that listen in a namespace, by port.

    sock_diag walks the listeners alone. Without the capability to enter a foreign namespace it is
    ``/proc/<pid>/net``, where the kernel walks the whole table of connections to find the end.
    """
    ports: dict[int, set[int]] = {}
    try:
        rows = _listeners_of(where)
    except OSError:
        pass
    else:
        for port, inode in zip(rows["lport"].tolist(), rows["inode"].tolist(), strict=True):
            ports.setdefault(port, set()).add(inode)
        return ports
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{where.pid}/net/{name}", encoding="ascii") as table:
                for port, inodes in listening(table).items():
                    ports.setdefault(port, set()).update(inodes)
        except OSError:
            continue  # IPv6 is off, or the process is gone
    return ports


def _listeners_of(where: Netns) -> Sockets:
    """Raises OSError where the namespace cannot be entered, or the kernel lacks inet_diag."""
    if where.inode == namespaces.current():
        return socktable.here(where.inode, 1 << State.LISTEN)
    with namespaces.inside(where) as run:
        return run(lambda: socktable.here(where.inode, 1 << State.LISTEN))


def common(processes: list[Process | None]) -> Listener:
    """What all holders of a port have in common."""
    if not processes or None in processes:
        return UNKNOWN
    holding = [each for each in processes if each is not None]
    first = holding[0]
    return Listener(
        first.pid if all(each.pid == first.pid for each in holding) else None,
        first.comm if all(each.comm == first.comm for each in holding) else None,
        first.uid if all(each.uid == first.uid for each in holding) else None,
    )
