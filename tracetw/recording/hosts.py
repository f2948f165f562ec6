# SPDX-License-Identifier: Apache-2.0
"""Distinguish hosts of one name: by machine id or, where that is not enough, by boot id."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from tracetw.recording.header import Header

_SHORTEST = 6


def host_names(headers: Sequence[Header]) -> list[str]:
    """A name for the host of each recording, ``web1 (a1b2c3)`` where several hosts have that name.

    Machine ids of copied virtual machines are equal. One host is never up twice at once: recordings
    of different boots that overlap are of different hosts.
    """
    of_boot = {each.boot: each.machine_id for each in headers if each.machine_id}
    installations = [(each.host, of_boot.get(each.boot, each.boot)) for each in headers]
    copied = {
        mine
        for (mine, one), (yours, other) in combinations(zip(installations, headers, strict=True), 2)
        if mine == yours and one.boot != other.boot and _overlap(one, other)
    }
    keys = [
        each.boot if mine in copied else mine[1]
        for mine, each in zip(installations, headers, strict=True)
    ]
    known: dict[str, set[str]] = {}
    for each, key in zip(headers, keys, strict=True):
        known.setdefault(each.host, set()).add(key)
    return [
        f"{each.host} ({_short(key, known[each.host])})" if len(known[each.host]) > 1 else each.host
        for each, key in zip(headers, keys, strict=True)
    ]


def _overlap(one: Header, other: Header) -> bool:
    return one.run_started_ns < (other.ended_ns or other.started_ns) and other.run_started_ns < (
        one.ended_ns or one.started_ns
    )


def _short(key: str, others: set[str]) -> str:
    """As many digits as tell it from all others."""
    for length in range(_SHORTEST, len(key)):
        if sum(other.startswith(key[:length]) for other in others) == 1:
            return key[:length]
    return key
