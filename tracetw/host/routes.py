# SPDX-License-Identifier: Apache-2.0
"""Routes that set a shortest retransmission timeout of their own (``ip route ... rto_min``)."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["RtoMin", "rto_mins"]

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_RTMSG = struct.Struct(
    "=BBBBBBBBI"
)  # struct rtmsg: family, lengths, tos, table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_RTM_GETROUTE, _NLM_F_REQUEST_DUMP = 26, 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
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
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        body = _RTMSG.pack(family, *[0] * 7, 0)
        size = _HEADER.size + len(body)
        netlink.sendto(_HEADER.pack(size, _RTM_GETROUTE, _NLM_F_REQUEST_DUMP, 1, 0) + body, (0, 0))
        while True:
            data = memoryview(netlink.recv(1 << 16))
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, _, _, _ = _HEADER.unpack_from(data, at)
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
                    raise OSError(number, os.strerror(number), "NETLINK_ROUTE")
                yield data[at + _HEADER.size : at + length]
                at += max(length + 3 & ~3, _HEADER.size)


def _route(message: memoryview) -> RtoMin | None:
    family, bits = message[0], message[1]
    attributes = dict(_attributes(message[_RTMSG.size :]))
    metrics = dict(_attributes(attributes.get(_RTA_METRICS, memoryview(b""))))
    if _RTAX_RTO_MIN not in metrics:
        return None
    size = 4 if family == socket.AF_INET else 16
    raw = bytes(attributes.get(_RTA_DST, bytes(size)))
    (milliseconds,) = struct.unpack("=I", metrics[_RTAX_RTO_MIN])
    return RtoMin(f"{socket.inet_ntop(family, raw)}/{bits}", milliseconds)


def _attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
