# SPDX-License-Identifier: Apache-2.0
"""What a report counts by: keys of close records, made without Python per row."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.record import F_ADDR, F_CLIENT, F_SERVER
from tracetw.verdict.findings import Findings

SECOND = 1_000_000_000
_AF_INET = 2
_MAPPED = 0xFFFF_0000_0000
_LOOPBACK4, _NET8 = _MAPPED | 127 << 24, _MAPPED | 0xFF << 24

OTHERS = 0xFFFF_FFFF_FFFF_FFFF
"""Both 64-bit halves of the address that stands for all peers summed up."""

_COMMON = [
    ("peer_hi", "<u8"),
    ("peer_lo", "<u8"),
    ("comm", "S16"),
    ("pid", "<u4"),
    ("netns", "<u4"),
    ("port", "<u2"),
    ("source", "<u2"),
    ("verdict", "u1"),
    ("closed_by", "u1"),
    ("role", "u1"),
    ("time_wait", "u1"),
]
CELL = np.dtype([*_COMMON, ("cgroup", "<u8")])
"""Who closed with whom and how: 7 words."""

PULSE = np.dtype(
    [
        *_COMMON,
        ("cgroup", "<u8"),
        ("here_hi", "<u8"),
        ("here_lo", "<u8"),
        ("slot", "<u4"),
        ("signs", "<u2"),
        ("exit", "<u2"),
    ]
)
"""The same in time, for what went wrong: ``here`` is the local address, ``slot`` a time in slots, ``signs`` bits
of ``wrong``, ``exit`` the status of a process that died, in wait(2) form."""

TICK = np.dtype([("slot", "<u4"), ("source", "<u2"), ("verdict", "u1"), ("pad", "u1")])
"""Verdicts in time."""


def addresses(rows: NDArray[Any], column: str) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Addresses as two 64-bit numbers in IPv6 form, IPv4 ones mapped; both 0 where unknown."""
    raw = np.ascontiguousarray(rows[column])
    high, low = (raw.view(">u8")[:, word].astype(np.uint64) for word in (0, 1))
    v4 = rows["family"] == _AF_INET
    known = (rows["flags"] & F_ADDR) != 0
    packed = raw.view(">u4")[:, 0].astype(np.uint64) | np.uint64(_MAPPED)
    nothing = np.uint64(0)
    return (
        np.where(known & ~v4, high, nothing),
        np.where(known, np.where(v4, packed, low), nothing),
    )


def address(high: int, low: int) -> str:
    """Text of one address; ``unknown``, or ``others`` for the peers summed up."""
    if high == OTHERS and low == OTHERS:
        return "others"
    if not high and not low:
        return "unknown"
    if not high and low >> 32 == _MAPPED >> 32:
        return str(IPv4Address(low & 0xFFFF_FFFF))
    return str(IPv6Address(high << 64 | low))


def is_loopback(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """127.0.0.0/8 and ::1: the same address on every host."""
    four = (low & np.uint64(_NET8)) == np.uint64(_LOOPBACK4)
    four &= low >> np.uint64(32) == np.uint64(_MAPPED >> 32)
    result: NDArray[np.bool_] = (high == 0) & (four | (low == 1))
    return result


def service_ports(rows: NDArray[Any]) -> NDArray[np.uint16]:
    """The port that was connected to; if the role is unknown, the lower one."""
    flags, local, remote = rows["flags"], rows["lport"], rows["rport"]
    client, server = (flags & F_CLIENT) != 0, (flags & F_SERVER) != 0
    ports: NDArray[np.uint16] = np.where(
        client, remote, np.where(server, local, np.minimum(local, remote))
    ).astype(np.uint16)
    return ports


def cell_keys(rows: NDArray[Any], findings: Findings, source: int) -> NDArray[Any]:
    """Keys of dtype ``CELL``.

    Args:
        rows: close records.
        findings: of the same rows.
        source: number of the recording.
    """
    keys = np.zeros(len(rows), CELL)
    keys["peer_hi"], keys["peer_lo"] = addresses(rows, "raddr")
    for name in ("comm", "pid", "netns", "cgroup"):
        keys[name] = rows[name]
    for name in ("verdict", "closed_by", "time_wait"):
        keys[name] = getattr(findings, name)
    keys["port"] = service_ports(rows)
    keys["role"] = fields.role(rows)
    keys["source"] = source
    return keys


def fill(dtype: np.dtype[Any], keys: NDArray[Any], **more: Any) -> NDArray[Any]:  # noqa: ANN401
    """Keys of another dtype: the fields of the same name, and those given."""
    result = np.zeros(len(keys), dtype)
    for name in dtype.names or ():
        if name in more:
            result[name] = more[name]
        elif name in (keys.dtype.names or ()):
            result[name] = keys[name]
    return result
