# SPDX-License-Identifier: Apache-2.0
"""Connections of this host that fail now, of every network namespace, from sock_diag: bounded."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import State
from tracetw.host import holders, socktable
from tracetw.host import netns as namespaces
from tracetw.host.sockinfo import Info, infos
from tracetw.host.socktable import Sockets
from tracetw.text import decoded, visible
from tracetw.top.given_up import KEEPALIVE, PROBE, RETRANSMIT, TimerSettings, given_up, what
from tracetw.verdict.wheel import Wait

MOST = 300
"""Connections of one look, at most: those that retransmit first."""

_STATES = sum(
    1 << state
    for state in (
        State.ESTABLISHED,
        State.SYN_SENT,
        State.FIN_WAIT1,
        State.FIN_WAIT2,
        State.CLOSE_WAIT,
        State.LAST_ACK,
        State.CLOSING,
    )
)
_REMEMBERED = 1 << 14


@dataclass(frozen=True, slots=True)
class Failing:
    """One connection.

    Attributes:
        item: a number of its own as long as it lives.
        netns: inode of its namespace.
        local, remote: address and port.
        what: in a word or two.
        left: until it is given up.
        info: its timers.
        owner: who holds it, ``visible``; "" nobody, or it cannot be seen.
    """

    item: int
    netns: int
    local: tuple[str, int]
    remote: tuple[str, int]
    what: str
    left: Wait | None
    info: Info
    owner: str = ""


class Owners:
    """Who holds a socket, each looked up once: that takes a pass over all descriptors of the host."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def of(self, inodes: set[int]) -> dict[int, str]:
        """By inode."""
        new = inodes - self._known.keys() - {0}
        if new:
            if len(self._known) + len(new) > _REMEMBERED:
                self._known.clear()
            found = holders.holders(new)
            self._known.update((inode, _name(found.get(inode, []))) for inode in new)
        return {inode: self._known.get(inode, "") for inode in inodes}


def _name(pids: list[int]) -> str:
    for pid in sorted(pids):
        comm = holders.comm(pid)
        if comm is not None:
            return f"{visible(decoded(comm))}/{pid}"
    return ""


def look(owners: Owners, hz: int | None) -> list[Failing]:
    """All of them, those that are given up soonest first. Raises OSError without inet_diag."""
    home = namespaces.current()
    seen = {home: _here(hz)}
    others = [each for inode, each in namespaces.find().items() if inode != home]
    seen |= namespaces.visit(others, lambda: _here(hz))
    failing = sorted((each for rows in seen.values() for each in rows), key=soonest)[:MOST]
    names = owners.of({each.info.inode for each in failing})
    return [replace(each, owner=names.get(each.info.inode, "")) for each in failing]


def soonest(each: Failing) -> float:
    """Sorts those that are given up soonest in front."""
    return math.inf if each.left is None else each.left.least_s


def _here(hz: int | None) -> list[Failing]:
    """Of the calling thread's namespace."""
    netns = namespaces.current()
    rows = socktable.here(netns, _STATES)
    which = _suspects(rows)
    if not len(which):
        return []
    limits = _limits(hz)
    asked = [info for info in infos(rows, which.tolist()) if what(info)]
    return [*_failing(netns, rows, asked, limits)]


def _failing(
    netns: int, rows: Sockets, asked: list[Info], limits: TimerSettings
) -> Iterator[Failing]:
    chosen = rows[[info.row for info in asked]]
    local, remote = (socktable.addresses(chosen, side) for side in ("l", "r"))
    for at, info in enumerate(asked):
        yield Failing(
            item=int(chosen["cookie"][at]),
            netns=netns,
            local=(local[at], int(chosen["lport"][at])),
            remote=(remote[at], int(chosen["rport"][at])),
            what=what(info),
            left=given_up(info, limits),
            info=info,
        )


def _suspects(rows: Sockets) -> NDArray[np.intp]:
    """Rows that may fail, at most ``MOST``: retransmissions first, waiting for a FIN last."""
    state, timer, tries = rows["state"], rows["timer"], rows["retrans"]
    rank = np.full(len(rows), 9, np.uint8)
    rank[state == State.FIN_WAIT2] = 4
    rank[(timer == KEEPALIVE) & (tries > 0)] = 3
    rank[timer == PROBE] = 2
    rank[(timer == RETRANSMIT) & (tries > 0)] = 1
    which = np.flatnonzero(rank < 9)  # noqa: PLR2004 (nothing fails)
    return which[np.argsort(rank[which], kind="stable")][:MOST]


def _limits(hz: int | None) -> TimerSettings:
    """Settings of the calling thread's namespace."""
    known = TimerSettings()
    return TimerSettings(
        retries2=_number("tcp_retries2", known.retries2),
        orphan_retries=_number("tcp_orphan_retries", known.orphan_retries),
        syn_retries=_number("tcp_syn_retries", known.syn_retries),
        syn_linear=_number("tcp_syn_linear_timeouts", known.syn_linear),
        keepalive_intvl_s=_number("tcp_keepalive_intvl", known.keepalive_intvl_s),
        keepalive_probes=_number("tcp_keepalive_probes", known.keepalive_probes),
        fin_timeout_s=_number("tcp_fin_timeout", known.fin_timeout_s),
        rto_max_s=_number("tcp_rto_max_ms", round(known.rto_max_s * 1000)) / 1000,
        hz=hz,
    )


def _number(name: str, default: int) -> int:
    with suppress(OSError, ValueError):
        file = os.open(f"/proc/sys/net/ipv4/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(file, 64))
        finally:
            os.close(file)
    return default
