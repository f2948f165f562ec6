# SPDX-License-Identifier: Apache-2.0
"""What a look means, in sentences. Each rests on what was seen; where it was not, the sentence says so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracetw.host.socktable import addresses
from tracetw.timewait.blockers import blocked
from tracetw.timewait.cause import cause
from tracetw.timewait.direction import Direction
from tracetw.timewait.forecast import Forecast, reusable
from tracetw.timewait.groups import BY, codes
from tracetw.timewait.look import Look
from tracetw.timewait.note import Note
from tracetw.timewait.settings import Settings
from tracetw.timewait.snapshot import SocketKind
from tracetw.timewait.wording import place, process, sockets

__all__ = ["notes"]

MANY = 50
"""TIME_WAIT of a port or a destination that are worth a sentence: fewer are no burden for anybody."""
_AT_MOST = 5
_NEARLY_FULL = 0.8
_PRICE = (
    "It costs: a late RST of the connection before ends the new one if it fits the window, for PAWS does"
    " not check RST; and where our last ACK was lost, the peer answers the SYN with an ACK of the old"
    " connection, so connect() takes a RST and a second SYN"
)


def notes(look: Look) -> list[Note]:
    """All sentences, what is urgent first."""
    return [
        *_unread(look),
        *_running_out(look),
        *_buckets(look),
        *blocked(look),
        *_servers(look),
        *_clients(look),
        *_half_closed(look),
        *_orphans(look),
    ]


def _unread(look: Look) -> Iterator[Note]:
    unread = look.snapshot.unread
    if unread:
        few = ", ".join(map(str, [*unread][:_AT_MOST]))
        yield Note(
            "unread", None, f"{len(unread)} network namespaces were not read ({few}): run as root"
        )


def _running_out(look: Look) -> Iterator[Note]:
    said = 0
    for each in look.forecasts:
        if each.seconds_left is None or said == _AT_MOST:
            break
        said += 1
        yield Note("ports-run-out", each.netns, _sentence(look, each))
    for each in look.forecasts:
        if each.way == "bind" and said < 2 * _AT_MOST:
            said += 1
            yield Note(
                "bound-first",
                each.netns,
                f"Clients with the address {_source(look, each)}{place(look, each.netns)} have ports that bind()"
                " chose: each is lost for every destination, and TIME_WAIT is never taken over."
                " IP_BIND_ADDRESS_NO_PORT before bind() leaves the choice to connect().",
            )


def _source(look: Look, each: Forecast) -> str:
    return addresses(look.snapshot.sockets[each.first : each.first + 1], "l")[0]


def _sentence(look: Look, each: Forecast) -> str:
    row = look.snapshot.sockets[each.first : each.first + 1]
    to = (
        "all destinations"
        if each.way == "bind"
        else f"{addresses(row, 'r')[0]} port {row['rport'][0]}"
    )
    where = f"from {_source(look, each)} to {to}{place(look, each.netns)}"
    used = f"{each.capacity - each.free:,} of {each.capacity:,} are in use"
    if each.seconds_left == 0:
        error = (
            "bind() fails with EADDRINUSE"
            if each.way == "bind"
            else "connect() fails with EADDRNOTAVAIL"
        )
        return f"There is no local port left {where}: {used}, {error}."
    rate = "" if each.rate_s is None else f" at {_pace(each.rate_s)} closes a second"
    return f"Local ports {where} run out in {_time(each.seconds_left or 0)}{rate}: {used}."


def _pace(rate_s: float) -> str:
    return f"{rate_s:,.1f}" if rate_s < 10 else f"{rate_s:,.0f}"  # noqa: PLR2004


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"  # noqa: PLR2004


def _buckets(look: Look) -> Iterator[Note]:
    for space in look.snapshot.spaces.values():
        used, limit = space.settings.tw_buckets_used, space.settings.max_tw_buckets
        if used is None or limit is None or used < limit * _NEARLY_FULL or used < MANY:
            continue
        yield Note(
            "buckets",
            space.netns,
            f"{used:,} of {limit:,} TIME_WAIT buckets are in use{place(look, space.netns)}"
            " (net.ipv4.tcp_max_tw_buckets, of this namespace alone): beyond that the kernel skips TIME_WAIT"
            " and answers a late FIN with RST.",
        )


def _servers(look: Look) -> Iterator[Note]:
    snapshot = look.snapshot
    which = np.flatnonzero(
        (snapshot.kinds == SocketKind.TIME_WAIT) & (look.direction == Direction.IN)
    )
    code, count = codes(snapshot.sockets, ("netns", "lport"), which)
    totals = np.bincount(code, minlength=count)
    busy = np.argsort(-totals, kind="stable")[:_AT_MOST].tolist()
    busy = [each for each in busy if totals[each] >= MANY]
    for each in busy:
        mine = which[code == each]
        netns, port = (
            int(snapshot.sockets["netns"][mine[0]]),
            int(snapshot.sockets["lport"][mine[0]]),
        )
        who = process(look.owners.of_port(netns, port))
        yield Note(
            "server-closes-first",
            netns,
            f"The server on port {port}{who}{place(look, netns)} closes first: it carries {totals[each]:,} TIME_WAIT"
            " that its clients would carry if they closed first. They take memory and buckets here, but no"
            " local port.",
        )
        yield Note("why", netns, cause(look.carried, mine, f"port {port}"))
    if busy:
        yield Note(
            "reuse",
            None,
            "tcp_tw_reuse does not help a server: only connect() takes ports over. A client's new SYN"
            " takes the place of TIME_WAIT by itself (tcp_timewait_state_process()).",
        )
        yield Note(
            "recycle",
            None,
            "tcp_tw_recycle, which old advice names, is gone since 4.12: it dropped SYNs of clients"
            " that share one address behind NAT.",
        )


def _clients(look: Look) -> Iterator[Note]:
    snapshot = look.snapshot
    which = np.flatnonzero(
        (snapshot.kinds == SocketKind.TIME_WAIT) & (look.direction == Direction.OUT)
    )
    code, count = codes(snapshot.sockets, BY["destination"], which)
    totals = np.bincount(code, minlength=count)
    for each in np.argsort(-totals, kind="stable")[:_AT_MOST].tolist():
        if totals[each] < MANY:
            break
        mine = which[code == each]
        row = snapshot.sockets[mine[:1]]
        netns = int(row["netns"][0])
        to = f"{addresses(row, 'r')[0]} port {row['rport'][0]}"
        yield Note(
            "client-closes-first",
            netns,
            f"Connections to {to}{place(look, netns)} are closed by this side first: {totals[each]:,} TIME_WAIT"
            " each keep a local port for that destination. A pool or keep-alive would avoid them.",
        )
        settings = snapshot.spaces[netns].settings
        yield Note("reuse", netns, _reuse(settings, loopback=bool(_loopback(row, settings)), to=to))


def _loopback(row: np.ndarray[tuple[int], np.dtype[np.void]], settings: Settings) -> bool:
    two = Settings(
        **{name: getattr(settings, name) for name in settings.__slots__}
        | {"tw_reuse": 2, "timestamps": 1}
    )
    return bool(reusable(row, two)[0])


def _reuse(settings: Settings, *, loopback: bool, to: str) -> str:
    """Would tcp_tw_reuse help a client?"""
    delay = f"{settings.tw_reuse_delay_ms / 1000:g} s"
    if settings.timestamps == 0:
        return f"tcp_tw_reuse does nothing for {to}: it needs net.ipv4.tcp_timestamps, which is 0."
    if settings.tw_reuse is None or settings.timestamps is None:
        return "Whether tcp_tw_reuse would help is not known: the settings cannot be read."
    if settings.tw_reuse == 1 or (settings.tw_reuse == 2 and loopback):  # noqa: PLR2004
        return (
            f"connect() may take these ports over after {delay} (tcp_tw_reuse is {settings.tw_reuse}), if the"
            " connection had timestamps at both ends and bind() did not choose the port."
        )
    value = "1 (or 2: it is loopback)" if loopback else "1"
    return (
        f"tcp_tw_reuse is {settings.tw_reuse}; with {value} connect() could take these ports over after {delay}, if"
        f" both ends have timestamps. {_PRICE}."
    )


def _half_closed(look: Look) -> Iterator[Note]:
    owned = [each for each in look.owned if each.counts[SocketKind.FIN_WAIT2_OWNED - 1]]
    for each in owned[:_AT_MOST]:
        number = int(each.counts[SocketKind.FIN_WAIT2_OWNED - 1])
        yield Note(
            "fin-wait2-owned",
            each.netns,
            f"{sockets(number)} in FIN_WAIT2{place(look, each.netns)} {'is' if number == 1 else 'are'} held by a"
            f" process{process(each.owner)}: it called shutdown() and not close(), so nothing limits how long"
            f" {'it waits' if number == 1 else 'they wait'} for the peer's FIN.",
        )


def _orphans(look: Look) -> Iterator[Note]:
    snapshot = look.snapshot
    which = np.flatnonzero(snapshot.kinds >= SocketKind.FIN_WAIT1_ORPHAN)
    which = which[snapshot.kinds[which] < SocketKind.LISTEN]
    if not len(which):
        return
    waiting = np.maximum(snapshot.sockets["wqueue"][which].astype(np.int64) - 1, 0)
    held = int((waiting > 0).sum())
    unsent = sum(max(count - 1, 0) for count in snapshot.unsent.values())
    yield Note(
        "orphans",
        None,
        f"{sockets(len(which))} that no process holds {'waits' if len(which) == 1 else 'wait'} for the peer to"
        " acknowledge our FIN"
        f" (FIN_WAIT1, CLOSING, LAST_ACK); {held:,} of them have {int(waiting.sum()):,} bytes before it that are not"
        f" acknowledged, {unsent:,} of which were never sent. tcp_orphan_retries limits them.",
    )
