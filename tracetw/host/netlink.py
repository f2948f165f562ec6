# SPDX-License-Identifier: Apache-2.0
"""Lists that the kernel gives over netlink: one request, then datagrams of messages until the last.

Written here in a few lines, because a netlink library would cost the long-running tracer more memory than
all its own data. Loads no NumPy: a short-lived child uses it too.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

NAME = "netlink"
"""``filename`` of every OSError that tells that the kernel gives no list."""

LARGEST = 1 << 15
"""SKB_WITH_OVERHEAD(32768) in netlink_recvmsg(): no datagram of a dump is larger."""

_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_ERROR = struct.Struct("=i")


def dump(protocol: int, kind: int, body: bytes, room: int = 1) -> Iterator[memoryview]:
    """A dump as the kernel sends it: whole messages, one after the other.

    Args:
        protocol: of netlink, as NETLINK_ROUTE.
        kind: of the message.
        body: what follows its header.
        room: datagrams to gather before they are given, 32 KiB each.

    Of the caller's namespace. Each part is valid until the caller asks for the next. Raises OSError
    with :data:`NAME` when the kernel has no such protocol, or reports an error.
    """
    memory = memoryview(bytearray(room * LARGEST))
    sequence = int.from_bytes(os.urandom(4), "little")  # nobody's bytes look like our DONE
    with _opened(protocol) as netlink:
        length = _HEADER.size + len(body)
        netlink.sendto(_HEADER.pack(length, kind, _NLM_F_REQUEST_DUMP, sequence, 0) + body, (0, 0))
        filled, last = 0, False
        while not last:
            size = netlink.recv_into(memory[filled:])
            last = _ends(memory[filled : filled + size], sequence)
            filled += size
            if last or len(memory) - filled < LARGEST:
                yield memory[:filled]
                filled = 0


def _opened(protocol: int) -> socket.socket:
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    except OSError as error:
        raise OSError(error.errno, error.strerror, NAME) from error


def messages(data: memoryview, kind: int) -> Iterator[memoryview]:
    """Bodies of the messages of this kind."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, found, _, _, _ = _HEADER.unpack_from(data, at)
        if found == kind:
            yield data[at + _HEADER.size : at + length]
        at += max(length + 3 & ~3, _HEADER.size)


def attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and values of the attributes after the fixed part of a message, without the flags of the number."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3


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
        raise OSError(number, os.strerror(number), NAME)
    return True
