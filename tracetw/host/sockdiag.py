# SPDX-License-Identifier: Apache-2.0
"""TCP sockets that exist now, through NETLINK_SOCK_DIAG (``include/uapi/linux/inet_diag.h``).

It shows what began before the trace: old connections and listeners. The messages are written here, in a dozen
lines, because a netlink library would cost the long-running tracer more memory than all its own
data. The own namespace needs no privileges, others CAP_SYS_ADMIN (setns).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tracetw.event.fields import State
from tracetw.host import netns as namespaces
from tracetw.host.netns import Netns

__all__ = ["EVERY_STATE", "Socket", "datagrams", "roles", "sockets"]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_ALL_STATES = (1 << 12) - 1
EVERY_STATE = (1 << 14) - 1
"""As sockets() asks for, and what only bind() has seen (TCP_BOUND_INACTIVE, since 6.8; a kernel without
it ignores the bit, inet_diag_dump_icsk())."""

_LARGEST = 1 << 15  # SKB_WITH_OVERHEAD(32768) in netlink_recvmsg(): no datagram of a dump is larger

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST = struct.Struct("=BBxxI48x")  # struct inet_diag_req_v2, with no socket named
_ANSWER = struct.Struct("!BBxxHH16s16s")  # struct inet_diag_msg up to the addresses ...
_COUNTS = struct.Struct("=I8xIIIII")  # ... and after: if, cookie, expires, queues, uid, inode
_ERROR = struct.Struct("=i")


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


def datagrams(family: int, states: int, room: int = 1) -> Iterator[memoryview]:
    """The dump of one family as the kernel sends it: whole messages, one after the other.

    Args:
        family: AF_INET or AF_INET6.
        states: mask of states, ``1 << state``.
        room: datagrams to gather before they are given, 32 KiB each.

    Of the caller's namespace. What is given is only good until the next is asked for. The walk is not
    atomic: a socket that moves meanwhile is there twice or not at all, as for ``ss``. Raises OSError
    when the kernel reports an error.
    """
    memory = memoryview(bytearray(room * _LARGEST))
    sequence = int.from_bytes(os.urandom(4), "little")  # nobody's bytes look like our DONE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as diag:
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, states)
        length = _HEADER.size + len(request)
        header = _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, sequence, 0)
        diag.sendto(header + request, (0, 0))
        filled, last = 0, False
        while not last:
            size = diag.recv_into(memory[filled:])
            last = _ends(memory[filled : filled + size], sequence)
            filled += size
            if last or len(memory) - filled < _LARGEST:
                yield memory[:filled]
                filled = 0


def _ends(datagram: memoryview, sequence: int) -> bool:
    """Is it the last one? The DONE of a dump is its last message; an error comes alone.

    Raises the OSError that it reports.
    """
    if _HEADER.unpack_from(datagram)[1] == _NLMSG_ERROR:
        at = 0
    else:
        at = len(datagram) - _HEADER.size - _ERROR.size
        length, kind, _, told, _ = _HEADER.unpack_from(datagram, max(at, 0))
        if (length, kind, told) != (_HEADER.size + _ERROR.size, _NLMSG_DONE, sequence):
            return False
    number = -_ERROR.unpack_from(datagram, at + _HEADER.size)[0]
    if number > 0:
        raise OSError(number, os.strerror(number), "NETLINK_SOCK_DIAG")
    return True


def _dump(netns: int, states: int) -> Iterator[Socket]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for data in datagrams(family, states):
            for message in _messages(data):
                yield _socket(netns, message)


def _messages(data: memoryview) -> Iterator[memoryview]:
    """Bodies of messages about sockets."""
    at = 0
    while at < len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if kind == _SOCK_DIAG_BY_FAMILY:
            yield data[at + _HEADER.size : at + length]
        at += max(length + 3 & ~3, _HEADER.size)


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
