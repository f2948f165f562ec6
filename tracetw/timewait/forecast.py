# SPDX-License-Identifier: Apache-2.0
"""When local ports run out, for each (namespace, source, destination, destination port).

A connection needs a local port that no other connection between the same two addresses and remote port
has. TIME_WAIT keeps it for 60 s, unless tcp_twsk_unique() lets connect() take it over. Both follow from a
single look: the ages of the TIME_WAITs give the rate at which they come, their timers when they go.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tracetw.host.socktable import Sockets
from tracetw.timewait.carriers import Carried
from tracetw.timewait.groups import codes
from tracetw.timewait.ports import Ports, chosen_by_bind
from tracetw.timewait.settings import TIME_WAIT_S, Settings
from tracetw.timewait.snapshot import TIMEWAIT_TIMER, Snapshot, SocketKind, Space

__all__ = ["Forecast", "forecasts", "reusable"]

MOST = 256
"""Destinations of a namespace to forecast, at most: the fullest ones."""

_WINDOW_S = 10.0
_LEAST_S, _TOO_SHORT_S = 1.0, 0.01
_V4_PREFIX = np.uint64(0xFFFF)
_LOOPBACK_NET, _LOOPBACK_INDEX = np.uint64(127), 1
_REUSE_LOOPBACK = 2
_SOON_S = 1e-3
_DESTINATION = ("l_hi", "l_lo", "r_hi", "r_lo", "rport")
_BITS_V4, _BITS_BYTE = np.uint64(32), np.uint64(24)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Local ports for one destination.

    Attributes:
        netns: inode of the namespace.
        first: a row of ``snapshot.sockets`` with these addresses. When ``way`` is ``bind``, only
            its local address counts.
        way: ``connect``: connect() chooses the port; ``bind``: bind() without a port does, so that all
            destinations of a source share the ports.
        capacity: ports of the range that are not reserved and not held.
        held: ports of the range that bind() holds for every destination.
        live: ports of connections that are open, or closing without a timer.
        time_wait: ports of timewait sockets that cannot be used now.
        reusable: ports of timewait sockets that connect() may take over now.
        free: ports for the next connections.
        rate_s: TIME_WAIT sockets that come a second; None when fewer than two came lately,
            or none before the last 10 ms.
        window_s: seconds that the rate was taken from.
        seconds_left: until connect() finds no port at this rate; 0 if it finds none now, None if
            that does not happen at this rate.
        hold_s: how long a connection keeps its port after its end.
    """

    netns: int
    first: int
    way: str
    capacity: int
    held: int
    live: int
    time_wait: int
    reusable: int
    free: int
    rate_s: float | None
    window_s: float
    seconds_left: float | None
    hold_s: float


@dataclass(frozen=True, slots=True)
class _Room:
    """What connections share: who chooses the port, how many there are, and how many bind() holds."""

    way: str
    capacity: int
    held: int

    @classmethod
    def of(cls, way: str, ports: Ports) -> _Room:
        held = int((ports.held & ports.candidates).sum())
        return cls(way, ports.capacity(), held)


@dataclass(frozen=True, slots=True)
class _Used:
    """Sockets that have a port of the range, as columns.

    Attributes:
        place: index in ``snapshot.sockets``.
        lport: local port.
        free_in_s: when the port is free again; infinite for a live connection.
        age_s: of TIME_WAIT; NaN for others.
        hold_s: how long a connection like it keeps its port.
    """

    place: NDArray[np.intp]
    lport: NDArray[np.uint16]
    free_in_s: NDArray[np.float32]
    age_s: NDArray[np.float32]
    hold_s: NDArray[np.float32]

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> _Used:
        """Some of them, by index or mask."""
        return _Used(
            self.place[which],
            self.lport[which],
            self.free_in_s[which],
            self.age_s[which],
            self.hold_s[which],
        )


def forecasts(
    snapshot: Snapshot, most: int = MOST, carried: Carried | None = None
) -> list[Forecast]:
    """Every destination with connections to it, those that run out first in front.

    Records (``carried``) tell who chose a port; else its parity does.
    """
    found = [
        each
        for netns, part in snapshot.parts.items()
        for each in _of_space(snapshot, snapshot.spaces[netns], part, most, carried)
    ]
    never = float("inf")
    return sorted(
        found,
        key=lambda each: (
            never if each.seconds_left is None else each.seconds_left,
            each.free / max(each.capacity, 1),
        ),
    )


def reusable(rows: Sockets, settings: Settings) -> NDArray[np.bool_]:
    """Whose port may connect() take over, once ``tcp_tw_reuse_delay`` has passed?

    tcp_twsk_unique(): with timestamps, and 1 for all, 2 where an address or the interface is loopback.
    Whether a connection had timestamps is not shown: it takes both ends, ``tcp_timestamps`` is ours.
    """
    if not settings.tw_reuse or not settings.timestamps:
        return np.zeros(len(rows), np.bool_)
    if settings.tw_reuse != _REUSE_LOOPBACK:
        return np.ones(len(rows), np.bool_)
    lo: NDArray[np.bool_] = rows["device"] == _LOOPBACK_INDEX
    for side in ("l", "r"):
        low, v4 = rows[f"{side}_lo"], rows[f"{side}_hi"] == 0
        lo |= v4 & (low == 1)
        lo |= v4 & (low >> _BITS_V4 == _V4_PREFIX) & (low >> _BITS_BYTE & 0xFF == _LOOPBACK_NET)
    return lo


def _of_space(
    snapshot: Snapshot, space: Space, part: slice, most: int, carried: Carried | None
) -> list[Forecast]:
    rows, kind, age = snapshot.sockets[part], snapshot.kinds[part], snapshot.age_s[part]
    settings = space.settings
    if settings.low is None:
        return []
    ports = Ports.of(rows, kind, settings)
    client = np.flatnonzero((kind < SocketKind.LISTEN) & ports.free_for_connect()[rows["lport"]])
    if not len(client):
        return []
    used = _used(rows, kind, age, client, settings)
    code, count = codes(rows, _DESTINATION, client)
    bound = chosen_by_bind(used.lport, code, used.age_s, ports, settings.low)
    if carried is not None:
        told, known = (each[client] for each in carried.bound(part))
        bound = np.where(known, told, bound)
    found = _shared(rows, used, bound, _Room.of("bind", ports), most)
    held = ports.held.copy()
    held[used.lport[bound]] = True
    room = _Room.of("connect", Ports(ports.candidates, held, ports.left_out))
    kept = ~held[used.lport]
    found += _grouped(used.take(kept), code[kept], count, room, most)
    return [replace(each, netns=space.netns, first=part.start + each.first) for each in found]


def _used(
    rows: Sockets,
    kind: NDArray[np.uint8],
    age_s: NDArray[np.float32],
    which: NDArray[np.intp],
    settings: Settings,
) -> _Used:
    waits = kind == SocketKind.TIME_WAIT
    again = (waits & reusable(rows, settings))[which]
    timed = waits | (kind == SocketKind.FIN_WAIT2_ORPHAN) & (rows["timer"] == TIMEWAIT_TIMER)
    delay = settings.tw_reuse_delay_ms / 1000
    age = age_s[which]
    free_in = _left(rows, which)
    free_in[~timed[which]] = np.inf
    free_in[again] = np.maximum(np.float32(delay) - age[again], 0)
    hold = np.full(len(which), TIME_WAIT_S, np.float32)
    hold[again] = min(delay, TIME_WAIT_S)
    return _Used(which, rows["lport"][which], free_in, age, hold)


def _left(rows: Sockets, which: NDArray[np.intp]) -> NDArray[np.float32]:
    """Until a timer runs out. One that has run out fires up to an eighth of it later: still there."""
    left: NDArray[np.float32] = rows["expires"][which].astype(np.float32) / np.float32(1000)
    left[left < _SOON_S] = _SOON_S
    return left


def _shared(
    rows: Sockets, used: _Used, bound: NDArray[np.bool_], room: _Room, most: int
) -> list[Forecast]:
    """bind() chooses: a source has one port for all destinations, and no TIME_WAIT is taken over.

    inet_csk_find_open_port() takes a port only if no socket of it has the same local address
    (inet_csk_bind_conflict()), TIME_WAIT and other people's connections included.
    """
    if not bound.any():
        return []
    source, sources = codes(rows, ("l_hi", "l_lo"), used.place)
    binds = np.zeros(sources, np.bool_)
    binds[source[bound]] = True
    same = binds[source]
    mine = used.take(same)
    free_in = np.where(np.isnan(mine.age_s), mine.free_in_s, _left(rows, mine.place))
    hold = np.full(len(free_in), TIME_WAIT_S, np.float32)
    mine = replace(mine, free_in_s=free_in, hold_s=hold)
    return _grouped(mine, source[same], sources, room, most)


def _grouped(
    used: _Used, code: NDArray[np.intp], count: int, room: _Room, most: int
) -> list[Forecast]:
    if not len(code):
        return []
    totals = np.bincount(code[used.free_in_s > 0], minlength=count)
    fullest = np.argsort(-totals, kind="stable")[:most]
    fullest = fullest[np.bincount(code, minlength=count)[fullest] > 0]
    order = np.argsort(code, kind="stable")
    begins = np.searchsorted(code[order], np.arange(count + 1))
    return [
        _forecast(used.take(order[begins[group] : begins[group + 1]]), room)
        for group in fullest.tolist()
    ]


def _forecast(used: _Used, room: _Room) -> Forecast:
    """Of one destination, with the place in its namespace."""
    free_in = used.free_in_s
    if (
        room.way == "bind"
    ):  # a port counts once, also where connections of several destinations share it
        ports, which = np.unique(used.lport, return_inverse=True)
        free_in = np.zeros(len(ports), np.float32)
        np.maximum.at(free_in, which, used.free_in_s)
    live = int(np.isinf(free_in).sum())
    waiting = np.sort(free_in[(free_in > 0) & np.isfinite(free_in)])
    hold = float(used.hold_s.min())
    rate, window = _rate(used.age_s, hold)
    return Forecast(
        netns=0,
        first=int(used.place[0]),
        way=room.way,
        capacity=room.capacity,
        held=room.held,
        live=live,
        time_wait=len(waiting),
        reusable=int((free_in == 0).sum()),
        free=max(room.capacity - live - len(waiting), 0),
        rate_s=rate,
        window_s=window,
        seconds_left=_runs_out(room.capacity - live, waiting, rate, hold),
        hold_s=hold,
    )


def _rate(age_s: NDArray[np.float32], hold_s: float) -> tuple[float | None, float]:
    """TIME_WAIT sockets a second, and the seconds that were looked at.

    Of the last ten seconds, or since the first that there is. Those that connect() took over are gone:
    no older ones than it leaves alone are counted. A burst is taken as a second's, for nothing says that it
    goes on; of a few milliseconds nothing can be said at all.
    """
    window = min(_WINDOW_S, hold_s)
    ages = age_s[~np.isnan(age_s)]
    recent = ages[ages <= window]
    if len(recent) < 2:  # noqa: PLR2004 (a rate takes two)
        return None, window
    if len(recent) == len(ages) and (oldest := float(ages.max())) < window * 0.95:
        if oldest < _TOO_SHORT_S:
            return None, window
        span = max(oldest, min(_LEAST_S, hold_s))
        return (len(recent) - 1) / span, span
    return len(recent) / window, window


def _runs_out(
    room: int, waiting: NDArray[np.float32], rate: float | None, hold_s: float
) -> float | None:
    """Seconds until ``room`` ports are in use; None for never at this rate.

    ``waiting`` has, sorted, when each port that is not free becomes so. After T seconds those that end
    later are still in use, and ``rate * T`` new ones, of which the first end after ``hold_s``.
    """
    if len(waiting) >= room:
        return 0.0
    if not rate:
        return None
    edges = np.concatenate(([0.0], waiting))
    # Between the i-th end and the next one, len(waiting) - i are left.
    full = (room - len(waiting) + np.arange(len(edges))) / rate
    before = np.append(waiting, np.inf)
    reached = np.flatnonzero(full <= before)
    if not len(reached):
        return None
    when = float(max(full[reached[0]], edges[reached[0]]))
    return when if when <= hold_s else None
