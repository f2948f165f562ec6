# SPDX-License-Identifier: Apache-2.0
"""Listeners with their queues, and connections on which nothing has moved for long, by sock_diag.

What ``tracetw.host.sockdiag`` leaves out: queues, timers, and of ``struct tcp_info`` the times of the last
segments. It keeps only what the caller asks for, so a host with a million connections costs time but no memory.
"""

from __future__ import annotations

import heapq
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from tracetw.host import netlink

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2, with no socket named
_PROTOCOL = struct.Struct("=HHI")  # INET_DIAG_REQ_PROTOCOL, for a number beyond a byte
_MESSAGE = struct.Struct("=BBBB2s2s16s16s12xIIIII")  # struct inet_diag_msg
_REQ_PROTOCOL, _INFO, _ULP_INFO, _ULP_NAME = 3, 2, 19, 1
_TIMES = struct.Struct("=IIII")  # tcpi_last_data_sent, last_ack_sent, last_data_recv, last_ack_recv
_TIMES_AT = 44
_IPPROTO_MPTCP = 262
_ESTABLISHED, _CLOSE_WAIT, _FIN_WAIT2, _LISTEN = 1, 8, 5, 10
_KEEPALIVE_TIMER = 2
_MOST = 20


class AcceptQueue(NamedTuple):
    """A listener: ``waiting`` of at most ``backlog`` connections wait for accept() now."""

    address: str
    port: int
    mptcp: bool
    waiting: int
    backlog: int
    inode: int
    uid: int


class Idle(NamedTuple):
    """A connection on which nothing has come or gone for ``idle_s``. ``keepalive``: is that timer running?"""

    local: str
    local_port: int
    remote: str
    remote_port: int
    half_closed: bool
    keepalive: bool
    idle_s: int
    inode: int
    uid: int


class Quiet(NamedTuple):
    """Connections with other hosts.

    Attributes:
        connections: all of them, without those that this host is both ends of.
        keepalive: how many have a keepalive timer running.
        silent: how many have none and were idle for longer than asked.
        probed: how many have one, and were idle for longer than asked all the same.
        half_closed: how many of one or the other are in CLOSE_WAIT or FIN_WAIT2.
        longest: those that have been idle the longest, some with that timer and some without it.
    """

    connections: int
    keepalive: int
    silent: int
    probed: int
    half_closed: int
    longest: tuple[Idle, ...]


class _Row(NamedTuple):
    family: int
    state: int
    timer: int
    local_port: int
    remote_port: int
    local: bytes
    remote: bytes
    rqueue: int
    wqueue: int
    uid: int
    inode: int
    idle_ms: int | None
    mptcp: bool


def listening() -> tuple[AcceptQueue, ...]:
    """Listeners of the calling thread's namespace, by address and port. Raises OSError without inet_diag."""
    try:
        whole = {(row.local, row.local_port): row for row in _dump(1 << _LISTEN, _IPPROTO_MPTCP)}
    except OSError:
        whole = {}  # no MPTCP, or nobody can list it
    found = set()
    for row in _dump(1 << _LISTEN, socket.IPPROTO_TCP, _INFO):
        # The first subflow of an MPTCP listener is a TCP listener that no process holds.
        holder = whole.get((row.local, row.local_port), row) if row.mptcp else row
        found.add(
            AcceptQueue(
                _text(row.family, row.local),
                row.local_port,
                row.mptcp,
                row.rqueue,
                row.wqueue,
                holder.inode,
                holder.uid,
            )
        )
    return tuple(sorted(found))


def quiet(longer_than_s: float) -> Quiet:
    """Connections of the calling thread's namespace. Raises OSError without inet_diag."""
    connections = keepalive = silent = probed = half_closed = 0
    longest: dict[bool, list[tuple[int, Idle]]] = {True: [], False: []}
    states = 1 << _ESTABLISHED | 1 << _CLOSE_WAIT | 1 << _FIN_WAIT2
    ours = {row.local for row in _dump(states, socket.IPPROTO_TCP)}
    for row in _dump(states, socket.IPPROTO_TCP, _INFO):
        if row.remote in ours or _loopback(row.family, row.remote):
            continue
        connections += 1
        probes = row.timer == _KEEPALIVE_TIMER
        keepalive += probes
        if row.idle_ms is None or row.idle_ms < longer_than_s * 1000 or (row.timer and not probes):
            continue
        silent, probed = silent + (not probes), probed + probes
        half_closed += row.state != _ESTABLISHED
        idle = Idle(
            _text(row.family, row.local),
            row.local_port,
            _text(row.family, row.remote),
            row.remote_port,
            row.state != _ESTABLISHED,
            probes,
            row.idle_ms // 1000,
            row.inode,
            row.uid,
        )
        kept = longest[probes]
        keep = heapq.heappush if len(kept) < _MOST else heapq.heappushpop
        keep(kept, (idle.idle_s, idle))
    ordered = tuple(idle for _, idle in sorted([*longest[True], *longest[False]], reverse=True))
    return Quiet(connections, keepalive, silent, probed, half_closed, ordered)


def _dump(states: int, protocol: int, extension: int = 0) -> Iterator[_Row]:
    wanted = 1 << extension - 1 if extension else 0
    for family in (socket.AF_INET, socket.AF_INET6):
        body = _REQUEST.pack(family, protocol & 0xFF, wanted, states)
        body += _PROTOCOL.pack(_PROTOCOL.size, _REQ_PROTOCOL, protocol)
        for data in netlink.dump(_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, body):
            yield from map(_row, netlink.messages(data, _SOCK_DIAG_BY_FAMILY))


def _row(message: memoryview) -> _Row:
    family, state, timer, _, lport, rport, local, remote, _, rqueue, wqueue, uid, inode = (
        _MESSAGE.unpack_from(message)
    )
    size = 4 if family == socket.AF_INET else 16
    return _Row(
        family,
        state,
        timer,
        int.from_bytes(lport, "big"),
        int.from_bytes(rport, "big"),
        local[:size],
        remote[:size],
        rqueue,
        wqueue,
        uid,
        inode,
        *_attributes(message[_MESSAGE.size :]),
    )


def _attributes(data: memoryview) -> tuple[int | None, bool]:
    """Milliseconds since data left or data or an ACK came (tcp_get_info), and whether MPTCP is above (its ULP).

    The kernel adds the ULP where struct tcp_info is asked for (inet_diag_msg_attrs_fill, tcp_diag_get_aux).
    """
    idle_ms, mptcp = None, False
    for kind, value in netlink.attributes(data):
        if kind == _INFO and len(value) >= _TIMES_AT + _TIMES.size:
            sent, _, received, acknowledged = _TIMES.unpack_from(value, _TIMES_AT)
            idle_ms = min(sent, received, acknowledged)
        elif kind == _ULP_INFO:
            mptcp = any(
                inner == _ULP_NAME and bytes(name).rstrip(b"\0") == b"mptcp"
                for inner, name in netlink.attributes(value)
            )
    return idle_ms, mptcp


def _loopback(family: int, address: bytes) -> bool:
    if family == socket.AF_INET:
        return address[0] == 127  # noqa: PLR2004 (127.0.0.0/8)
    return address == bytes(15) + b"\x01" or address[:13] == bytes(10) + b"\xff\xff\x7f"


def _text(family: int, address: bytes) -> str:
    return socket.inet_ntop(family, address)
