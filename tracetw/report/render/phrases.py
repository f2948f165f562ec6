# SPDX-License-Identifier: Apache-2.0
"""Times, numbers and lists as they stand in sentences."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from tracetw.sink.human import amount, span

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Words:
    """How times are written.

    Attributes:
        utc: in UTC, else in the time zone of this process.
        dated: with the day.
    """

    utc: bool
    dated: bool = False

    @classmethod
    def spanning(cls, begin_ns: int, end_ns: int, *, utc: bool) -> Words:
        """With the day when the times are on more than one; in UTC where clocks were put forward or back meanwhile."""
        utc = utc or _clocks_changed(begin_ns // _SECOND, end_ns // _SECOND)
        far = end_ns - begin_ns >= _DAY
        same = cls(utc, dated=True).time(begin_ns)[:10] == cls(utc, dated=True).time(end_ns)[:10]
        return cls(utc, dated=far or not same)

    def zone(self, ns: int) -> str:
        """Name of the time zone at that time: in summer it is another one."""
        return "UTC" if self.utc else time.strftime("%Z", time.localtime(ns // _SECOND))

    def time(self, ns: int) -> str:
        """``12:04:07``, with the day if that matters."""
        broken = (time.gmtime if self.utc else time.localtime)(ns // _SECOND)
        return time.strftime("%Y-%m-%d %H:%M:%S" if self.dated else "%H:%M:%S", broken)

    def day(self, ns: int) -> str:
        """``2026-01-02``."""
        broken = (time.gmtime if self.utc else time.localtime)(ns // _SECOND)
        return time.strftime("%Y-%m-%d", broken)

    def between(self, begin_ns: int, end_ns: int) -> str:
        """``12:04:07 to 12:05:09 (1m02s)``, or one time."""
        begin, end = self.time(begin_ns), self.time(end_ns)
        return begin if begin == end else f"{begin} to {end} ({span(end_ns - begin_ns)})"


def _clocks_changed(begin: int, end: int) -> bool:
    """Whether local time jumps between two times, in seconds since 1970; so it does in whatever is a year long."""
    step = _DAY // _SECOND
    if end - begin > 366 * step:
        return True
    offset = time.localtime(begin).tm_gmtoff
    return any(time.localtime(at).tm_gmtoff != offset for at in [*range(begin, end, step), end])


def counted(counts: Mapping[str, int], noun: str = "connection") -> str:
    """``412 connections retransmit-exhausted, 38 keepalive-expired``."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    parts = [f"{count:,} {code}" for code, count in ordered]
    if parts:
        code, count = ordered[0]
        parts[0] = f"{amount(count, noun)} {code}"
    return ", ".join(parts)


def joined(words: Sequence[str], most: int = 3) -> str:
    """``a, b and c``; ``a, b, c and 4 more``."""
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most:,} more"
    if len(words) > 1:
        return f"{', '.join(words[:-1])} and {words[-1]}"
    return "".join(words)


def per_minute(rate: float) -> str:
    """``36 a minute``, ``0.2 a minute``, ``1 an hour``."""
    if rate >= 10:  # noqa: PLR2004 (digits that mean something)
        return f"{rate:,.0f} a minute"
    if rate >= 0.1:  # noqa: PLR2004
        return f"{rate:.1f} a minute"
    return f"{rate * 60:.1f} an hour"


def addresses(peers: Collection[str]) -> str:
    """Some addresses, or how many in which network."""
    if len(peers) <= _NAMED:
        return joined([*peers])
    network = common_network(peers)
    return f"{len(peers):,} peers" + (f" in {network}" if network else "")


def common_network(peers: Iterable[str]) -> str | None:
    """The smallest network of at least /16 (IPv6: /48) that holds all addresses, or None."""
    parsed = []
    for text in peers:
        try:
            parsed.append(ip_address(text))
        except ValueError:
            return None
    if not parsed or len({address.version for address in parsed}) > 1:
        return None
    first: IPv4Address | IPv6Address = parsed[0]
    low, high = (int(pick(parsed, key=int)) for pick in (min, max))
    prefix = first.max_prefixlen - (low ^ high).bit_length()
    least = 16 if first.version == 4 else 48  # noqa: PLR2004
    return str(ip_network((low, prefix), strict=False)) if prefix >= least else None
