# SPDX-License-Identifier: Apache-2.0
"""One TCP socket at a time, with what ``struct tcp_info`` says of its timers (INET_DIAG_INFO).

A dump with this for every socket would cost a host with many connections too much: ask for few.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tracetw.host import netlink
from tracetw.host.socktable import Sockets

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_NLM_F_REQUEST = 1
_INFO = 2  # INET_DIAG_INFO; asked for by the bit before it
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST = struct.Struct("=BBBxI")  # struct inet_diag_req_v2 ...
_PORTS = struct.Struct("!HH")  # ... and its struct inet_diag_sockid
_REST = struct.Struct("=IQ")  # the interface, the cookie
_MESSAGE = struct.Struct("=BBBB48xIIIII")  # struct inet_diag_msg, without the addresses
# struct tcp_info: tcpi_retransmits, tcpi_probes, tcpi_backoff; tcpi_rto
_TCP_INFO = struct.Struct("=xxBBB3xI")
_WAIT_S = 1.0
_AF_INET = socket.AF_INET


class Info(NamedTuple):
    """What a socket waits for.

    ``row`` is its index in what was asked for. ``timer``, ``tries`` and ``expires_ms`` as in
    ``socktable.SOCKET`` (``tries`` is ``retrans`` there), now. ``rto_s`` is the timeout now, with its
    ``backoff`` doublings.
    """

    row: int
    state: int
    timer: int
    tries: int
    expires_ms: int
    inode: int
    queued: int
    retransmits: int
    probes: int
    backoff: int
    rto_s: float


def infos(rows: Sockets, which: Iterable[int]) -> Iterator[Info]:
    """Of some rows of the calling thread's namespace, without those that are gone.

    Raises OSError when the kernel cannot be asked.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as diag:
        diag.settimeout(_WAIT_S)
        for at in which:
            diag.sendto(_request(rows[at]), (0, 0))
            found = _info(at, memoryview(diag.recv(1 << 13)))
            if found is not None:
                yield found


def _request(row: np.void) -> bytes:
    family = int(row["family"])
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << _INFO - 1, 0xFFFFFFFF)
    body += _PORTS.pack(int(row["lport"]), int(row["rport"]))
    for side in ("l", "r"):
        whole = (int(row[f"{side}_hi"]) << 64 | int(row[f"{side}_lo"])).to_bytes(16, "big")
        body += whole[12:].ljust(16, b"\0") if family == _AF_INET else whole
    body += _REST.pack(int(row["device"]), int(row["cookie"]))
    length = _HEADER.size + len(body)
    return _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0) + body


def _info(at: int, data: memoryview) -> Info | None:
    """None for an error: the socket has gone, or another one has its place."""
    length, kind, _, _, _ = _HEADER.unpack_from(data)
    if kind != _SOCK_DIAG_BY_FAMILY or length < _HEADER.size + _MESSAGE.size:
        return None
    message = _MESSAGE.unpack_from(data, _HEADER.size)
    _, state, timer, tries, expires, _, queued, _, inode = message
    known = (0, 0, 0, 0)
    for which, value in netlink.attributes(data[_HEADER.size + _MESSAGE.size : length]):
        if which == _INFO and len(value) >= _TCP_INFO.size:
            known = _TCP_INFO.unpack_from(value)
    retransmits, probes, backoff, rto_us = known
    waits = (state, timer, tries, expires, inode, queued)
    return Info(at, *waits, retransmits, probes, backoff, rto_us / 1e6)
