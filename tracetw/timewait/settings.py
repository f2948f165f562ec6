# SPDX-License-Identifier: Apache-2.0
"""The settings of one network namespace that decide about TIME_WAIT and local ports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracetw.verdict.timers import TIME_WAIT_S

__all__ = ["TIME_WAIT_S", "Settings", "port_mask"]

PORTS = 1 << 16
_LONGEST = 1 << 20  # ip_local_reserved_ports as text; all ports by themselves are a third of it
_TW_COUNT = re.compile(r"^TCP: .*\btw (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a namespace; None is what this kernel has no file for, or none that can be read.

    Attributes:
        low, high: ``ip_local_port_range``.
        reserved: ``ip_local_reserved_ports``, as pairs (first, last).
        tw_reuse: ``tcp_tw_reuse``: 0 never, 1 always, 2 loopback only.
        tw_reuse_delay_ms: ``tcp_tw_reuse_delay``; 1000 where the kernel has no such setting, for
            tcp_twsk_unique() compared whole seconds before it (since 6.14).
        timestamps: ``tcp_timestamps``.
        fin_timeout_s: ``tcp_fin_timeout``.
        max_tw_buckets: ``tcp_max_tw_buckets``.
        own_table: does it have a hash table of its own (``tcp_child_ehash_entries`` was set when it was
            made; since 6.1)? Always so for the first namespace.
        table_entries: buckets of the hash table that its sockets are in.
        rfc1337: ``tcp_rfc1337``.
        tw_buckets_used: TIME_WAIT buckets in use by the kernel's own count.
    """

    low: int | None
    high: int | None
    reserved: tuple[tuple[int, int], ...]
    tw_reuse: int | None
    tw_reuse_delay_ms: int
    timestamps: int | None
    fin_timeout_s: int | None
    max_tw_buckets: int | None
    own_table: bool | None
    table_entries: int | None
    rfc1337: int | None
    tw_buckets_used: int | None

    @classmethod
    def here(cls) -> Settings:
        """Of the namespace of the calling thread: /proc/sys/net follows the thread."""
        ports = _numbers("ip_local_port_range")
        low, high = ports if len(ports) == len(("low", "high")) else (None, None)
        entries = _number("tcp_ehash_entries")
        delay = _number("tcp_tw_reuse_delay")
        return cls(
            low=low,
            high=high,
            reserved=tuple(_ranges(_text("ip_local_reserved_ports"))),
            tw_reuse=_number("tcp_tw_reuse"),
            tw_reuse_delay_ms=1000 if delay is None else delay,
            timestamps=_number("tcp_timestamps"),
            fin_timeout_s=_number("tcp_fin_timeout"),
            max_tw_buckets=_number("tcp_max_tw_buckets"),
            # proc_tcp_ehash_entries(): negative for the table of the first namespace.
            own_table=None if entries is None else entries > 0,
            table_entries=None if entries is None else abs(entries),
            rfc1337=_number("tcp_rfc1337"),
            tw_buckets_used=_used(),
        )

    def candidates(self) -> NDArray[np.bool_]:
        """Ports that connect() and bind() without a port may take, shape (65536,)."""
        ports = np.zeros(PORTS, np.bool_)
        if self.low is None or self.high is None:
            return ports
        ports[self.low : self.high + 1] = True
        return ports & ~port_mask(self.reserved)

    def left_out(self) -> int:
        """Ports that a single connect() does not try: 1 where the range has an odd number of them.

        __inet_hash_connect() and inet_csk_find_open_port() make the number even. Which port it is changes
        with where the search begins.
        """
        if self.low is None or self.high is None or self.low == self.high:
            return 0
        return (self.high - self.low + 1) % 2


def port_mask(ranges: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    """Which ports lie in one of the ranges, shape (65536,)."""
    mask = np.zeros(PORTS, np.bool_)
    for first, last in ranges:
        mask[first : last + 1] = True
    return mask


def _text(name: str) -> str:
    try:
        with open(f"/proc/sys/net/ipv4/{name}", encoding="ascii") as file:  # noqa: PTH123
            return file.read(_LONGEST)
    except (OSError, ValueError):
        return ""


def _numbers(name: str) -> list[int]:
    try:
        return [int(word) for word in _text(name).split()]
    except ValueError:
        return []


def _number(name: str) -> int | None:
    return next(iter(_numbers(name)), None)


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            yield int(first), int(last) if last.isdigit() else int(first)


def _used() -> int | None:
    """``tw`` of sockstat counts ``tw_refcount``, which tcp_max_tw_buckets limits."""
    try:
        with open("/proc/thread-self/net/sockstat", encoding="ascii") as file:  # noqa: PTH123
            found = _TW_COUNT.search(file.read(4096))
    except (OSError, ValueError):
        return None
    return int(found[1]) if found else None
