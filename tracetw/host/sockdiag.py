# SPDX-License-Identifier: Apache-2.0
"""TCP sockets that exist now, through NETLINK_SOCK_DIAG (``include/uapi/linux/inet_diag.h``).

It shows what began before the trace: old connections and listeners. The own namespace needs no privileges,
others CAP_SYS_ADMIN (setns).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from tracetw.host import netlink

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
EVERY_STATE = (1 << 14) - 1
"""Every state of a connection, and what only bind() has seen (TCP_BOUND_INACTIVE, since 6.8; a kernel without
it ignores the bit, inet_diag_dump_icsk())."""

_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2, with no socket named


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
