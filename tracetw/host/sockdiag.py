# SPDX-License-Identifier: Apache-2.0
"""TCP sockets that exist now, through NETLINK_SOCK_DIAG (``include/uapi/linux/inet_diag.h``).

It shows what began before the trace: old connections and listeners. The own namespace needs no privileges,
others CAP_SYS_ADMIN (setns).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tracetw.event.fields import State
from tracetw.host import netlink
from tracetw.host import netns as namespaces
from tracetw.host.netns import Netns

__all__ = ["EVERY_STATE", "Socket", "datagrams", "roles", "sockets"]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_ALL_STATES = (1 << 12) - 1
EVERY_STATE = (1 << 14) - 1
"""As sockets() asks for, and what only bind() has seen (TCP_BOUND_INACTIVE, since 6.8; a kernel without
it ignores the bit, inet_diag_dump_icsk())."""

_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2, with no socket named
_ANSWER = struct.Struct("!BBxxHH16s16s")  # struct inet_diag_msg up to the addresses ...
_COUNTS = struct.Struct("=I8xIIIII")  # ... and after: if, cookie, expires, queues, uid, inode


class Socket(NamedTuple):
    """One TCP socket. ``inode`` is 0 when no process holds it any more."""

    netns: int
    family: int
    state: int
    local: str
    local_port: int
    remote: str
    remote_port: int
    inode: int
    uid: int

    @property
    def listens(self) -> bool:
        """Whether it is a listener, not a connection."""
        return self.state == State.LISTEN


def sockets(where: Netns | None = None, states: Iterable[int] | None = None) -> list[Socket]:
    """TCP sockets, IPv4 and IPv6, of a namespace (None: the caller's).

    ``states`` limits to these state numbers; listeners alone are found without a walk through all
    connections. IPv4-mapped addresses are given as the kernel has them (``::ffff:192.0.2.1``).
    Raises OSError as :func:`tracetw.host.netns.inside`, or when the kernel lacks inet_diag.
    """
    mask = _ALL_STATES if states is None else sum({1 << state for state in states})
    here = namespaces.current()
    if where is None or where.inode == here:
        return list(_dump(here, mask))
    with namespaces.inside(where) as run:
        return run(lambda: list(_dump(where.inode, mask)))


def roles(found: Iterable[Socket]) -> Callable[[Socket], str | None]:
    """Which old connections are on the ``server`` side: a listener has their local port.

    Otherwise None: a client, or a server that stopped listening.
    """
    ports = {(each.netns, each.local_port) for each in found if each.listens}

    def role(sock: Socket) -> str | None:
        return "server" if (sock.netns, sock.local_port) in ports else None

    return role


def datagrams(family: int, states: int, room: int = 1, attributes: int = 0) -> Iterator[memoryview]:
    """The dump of one family as the kernel sends it: whole messages, one after the other.

    Args:
        family: AF_INET or AF_INET6.
        states: mask of states, ``1 << state``.
        room: datagrams to gather before they are given, 32 KiB each.
        attributes: mask of ``INET_DIAG_`` attributes to add, ``1 << number - 1``.

    Of the caller's namespace. Each part is valid until the caller asks for the next. The walk is not
    atomic: a socket that moves meanwhile is there twice or not at all, as for ``ss``. Raises OSError
    when the kernel reports an error.
    """
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, attributes, states)
    return netlink.dump(_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, request, room)


def _dump(netns: int, states: int) -> Iterator[Socket]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for data in datagrams(family, states):
            for message in netlink.messages(data, _SOCK_DIAG_BY_FAMILY):
                yield _socket(netns, message)


def _socket(netns: int, message: memoryview) -> Socket:
    family, state, local_port, remote_port, local, remote = _ANSWER.unpack_from(message)
    _, _, _, _, uid, inode = _COUNTS.unpack_from(message, _ANSWER.size)
    size = 4 if family == socket.AF_INET else 16
    return Socket(
        netns,
        family,
        state,
        socket.inet_ntop(family, local[:size]),
        local_port,
        socket.inet_ntop(family, remote[:size]),
        remote_port,
        inode,
        uid,
    )
