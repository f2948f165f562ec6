# SPDX-License-Identifier: Apache-2.0
"""Routes that set a shortest retransmission timeout of their own (``ip route ... rto_min``)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from tracetw.host import netlink

_RTMSG = struct.Struct(
    "=BBBBBBBBI"
)  # struct rtmsg: family, lengths, tos, table, protocol, scope, type, flags
_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_RTA_DST, _RTA_METRICS, _RTAX_RTO_MIN = 1, 8, 13
_MOST_ROUTES, _MOST_FOUND = 20_000, 100


class RtoMin(NamedTuple):
    """``destination`` is a network, ``0.0.0.0/0`` or ``::/0`` for the default route."""

    destination: str
    milliseconds: int


def rto_mins() -> tuple[list[RtoMin], bool]:
    """Of the calling thread's namespace, and whether all routes were looked at.

    Raises OSError when the kernel refuses.
    """
    found: list[RtoMin] = []
    complete = True
    for family in (socket.AF_INET, socket.AF_INET6):
        for seen, message in enumerate(_dump(family)):
            if seen >= _MOST_ROUTES or len(found) >= _MOST_FOUND:
                complete = False
                break
            route = _route(message)
            if route is not None:
                found.append(route)
    return found, complete


def _dump(family: int) -> Iterator[memoryview]:
    body = _RTMSG.pack(family, *[0] * 7, 0)
    for data in netlink.dump(socket.NETLINK_ROUTE, _RTM_GETROUTE, body):
        yield from netlink.messages(data, _RTM_NEWROUTE)


def _route(message: memoryview) -> RtoMin | None:
    family, bits = message[0], message[1]
    attributes = dict(netlink.attributes(message[_RTMSG.size :]))
    metrics = dict(netlink.attributes(attributes.get(_RTA_METRICS, memoryview(b""))))
    if _RTAX_RTO_MIN not in metrics:
        return None
    size = 4 if family == socket.AF_INET else 16
    raw = bytes(attributes.get(_RTA_DST, bytes(size)))
    (milliseconds,) = struct.unpack("=I", metrics[_RTAX_RTO_MIN])
    return RtoMin(f"{socket.inet_ntop(family, raw)}/{bits}", milliseconds)
