# SPDX-License-Identifier: Apache-2.0
"""All TCP sockets of a network namespace as one array, decoded without Python for each.

The kernel sends ``struct inet_diag_msg`` (``include/uapi/linux/inet_diag.h``), 72 bytes and then attributes,
one netlink message a socket. A million sockets take 76 bytes each, twice that while they are gathered.
"""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.host import sockdiag

Sockets = NDArray[np.void]
"""Rows of :data:`SOCKET`."""

SOCKET = np.dtype(
    [
        ("netns", "u4"),  # inode number
        ("state", "u1"),
        ("family", "u1"),  # AF_INET 2, AF_INET6 10
        ("timer", "u1"),  # 0 none, 1 retransmission, 2 keepalive, 3 timewait socket, 4 window probe
        ("retrans", "u1"),
        ("lport", "u2"),  # host order
        ("rport", "u2"),
        (
            "l_hi",
            "u8",
        ),  # an address in two halves; IPv4 as ::ffff:a.b.c.d, which is one to the kernel too
        ("l_lo", "u8"),
        ("r_hi", "u8"),
        ("r_lo", "u8"),
        ("cookie", "u8"),
        ("expires", "u4"),  # ms until the timer
        ("rqueue", "u4"),  # bytes unread
        ("wqueue", "u4"),  # sequence space not acknowledged or not sent, FIN included
        ("uid", "u4"),
        ("inode", "u4"),  # 0: no process holds it
        ("device", "u4"),  # index of the interface it is bound to
    ]
)
BYTES = SOCKET.itemsize

_V4_MAPPED = np.uint64(0xFFFF << 32)
_V4_LIMIT = 1 << 32
_SOCK_DIAG_BY_FAMILY = 20
_DIAG_INFO = 2
_NOTSENT = 144  # tcpi_notsent_bytes in struct tcp_info, since 4.6
_COOKIE = (
    16 + 4 + 4 + 32 + 4
) // 4  # idiag_cookie in words, behind the header, ports and addresses
_ROOM = 32  # datagrams decoded at once: a mebibyte
_HEADER = np.dtype([("length", "u4"), ("kind", "u2"), ("flags", "u2"), ("ids", "u8")])
_MESSAGE = np.dtype(
    [
        ("header", _HEADER),
        ("family", "u1"),
        ("state", "u1"),
        ("timer", "u1"),
        ("retrans", "u1"),
        ("lport", ">u2"),
        ("rport", ">u2"),
        ("laddr", ">u4", (4,)),
        ("raddr", ">u4", (4,)),
        ("device", "u4"),
        ("cookie", "u4", (2,)),
        ("expires", "u4"),
        ("rqueue", "u4"),
        ("wqueue", "u4"),
        ("uid", "u4"),
        ("inode", "u4"),
    ]
)
_SAME = (
    "family",
    "state",
    "timer",
    "retrans",
    "lport",
    "rport",
    "device",
    "expires",
    "rqueue",
    "wqueue",
    "uid",
    "inode",
)


def here(netns: int, states: int = sockdiag.EVERY_STATE) -> Sockets:
    """The sockets of the calling thread's namespace, in the kernel's order, IPv4 first.

    ``netns`` is written into every row; ``states`` is a mask. A socket that only bind() has seen is a
    row in CLOSE, on kernels that show it. Raises OSError when the kernel lacks inet_diag.
    """
    parts = [
        _decoded(data, netns, family)
        for family in (socket.AF_INET, socket.AF_INET6)
        for data in sockdiag.datagrams(family, states, _ROOM)
    ]
    return np.concatenate(parts) if parts else np.empty(0, SOCKET)


def unsent(states: int) -> dict[int, int]:
    """Bytes that were never sent, by socket cookie, of full sockets in these states (a mask).

    Of the calling thread's namespace: ``tcpi_notsent_bytes`` of ``struct tcp_info``, where a FIN that waits
    behind them counts one. Python for each socket: ask for few. Raises OSError as :func:`here`.
    """
    found: dict[int, int] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        for data in sockdiag.datagrams(family, states, 1, 1 << _DIAG_INFO - 1):
            words = np.frombuffer(data, "u4")
            for at in _starts(words).tolist():
                end = at + int(words[at]) // 4
                number = _attribute(words[at:end], _DIAG_INFO, _NOTSENT)
                if number is not None:
                    low, high = (int(each) for each in words[at + _COOKIE : at + _COOKIE + 2])
                    found[high << 32 | low] = number
    return found


def _attribute(message: NDArray[np.uint32], wanted: int, offset: int) -> int | None:
    """The word at ``offset`` bytes into an attribute; None when the message has none or a shorter one."""
    at = _MESSAGE.itemsize // 4
    while at < len(message):
        size, kind = int(message[at]) & 0xFFFF, int(message[at]) >> 16
        if kind == wanted and 4 + offset + 4 <= size:
            return int(message[at + 1 + offset // 4])
        at += max(size + 3 >> 2, 1)
    return None


def addresses(rows: Sockets, side: str) -> list[str]:
    """Addresses of the ``l``ocal or ``r``emote side as text. Python per row: give it few."""
    halves = zip(rows[f"{side}_hi"].tolist(), rows[f"{side}_lo"].tolist(), strict=True)
    return [address(hi, lo) for hi, lo in halves]


def address(hi: int, lo: int) -> str:
    """One address; IPv4-mapped ones as IPv4."""
    if hi == 0 and lo >> 32 == 0xFFFF:  # noqa: PLR2004 (the prefix ::ffff:0:0/96)
        return socket.inet_ntop(socket.AF_INET, (lo % _V4_LIMIT).to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, (hi << 64 | lo).to_bytes(16, "big"))


def _decoded(data: memoryview, netns: int, family: int) -> Sockets:
    found = _messages(data)
    rows = np.empty(len(found), SOCKET)
    rows["netns"] = netns
    for name in _SAME:
        rows[name] = found[name]
    rows["cookie"] = _joined(found["cookie"][:, 1], found["cookie"][:, 0])
    for side, words in (("l", found["laddr"]), ("r", found["raddr"])):
        if family == socket.AF_INET:
            rows[f"{side}_hi"] = 0
            rows[f"{side}_lo"] = words[:, 0].astype(np.uint64) | _V4_MAPPED
        else:
            rows[f"{side}_hi"] = _joined(words[:, 0], words[:, 1])
            rows[f"{side}_lo"] = _joined(words[:, 2], words[:, 3])
    return rows


def _joined(high: NDArray[Any], low: NDArray[Any]) -> NDArray[np.uint64]:
    joined: NDArray[np.uint64] = high.astype(np.uint64) << np.uint64(32) | low
    return joined


def _messages(data: memoryview) -> NDArray[np.void]:
    """The messages about sockets in a run of netlink messages; a copy."""
    words = np.frombuffer(data, "u4")
    size = int(words[0]) + 3 & ~3
    # Timewait sockets alone have one size: most dumps are a plain array.
    if size >= _MESSAGE.itemsize and len(data) % size == 0:
        grid = words.reshape(-1, size // 4)
        if (grid[:, 0] == words[0]).all() and (grid[:, 1] & 0xFFFF == _SOCK_DIAG_BY_FAMILY).all():
            body = np.ascontiguousarray(grid[:, : _MESSAGE.itemsize // 4])
            return body.view(_MESSAGE).reshape(-1)
    at = _starts(words)
    at = at[(words[at + 1] & 0xFFFF == _SOCK_DIAG_BY_FAMILY) & (words[at] >= _MESSAGE.itemsize)]
    picked: NDArray[np.uint32] = words[at[:, None] + np.arange(_MESSAGE.itemsize // 4)]
    return picked.view(_MESSAGE).reshape(-1)


def _starts(words: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Where the messages begin, in words.

    Each message says where the next one begins. So does each pair of them, each four and so on: after
    as many doublings as the number of messages has bits, every beginning was reached.
    """
    end = len(words)
    following = np.arange(end + 1)
    following[:end] += np.maximum(words.astype(np.intp) + 3 >> 2, 4)
    np.minimum(following, end, out=following)
    at = np.zeros(1, np.intp)
    while at[-1] < end:
        at = np.append(at, following[at])
        following = following[following]
    return at[at < end]
