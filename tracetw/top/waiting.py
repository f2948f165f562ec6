# SPDX-License-Identifier: Apache-2.0
"""Screen 3: TIME_WAIT by the process that carried the connection, and when local ports run out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tracetw.host.socktable import addresses
from tracetw.sink.human import amount, endpoint, span
from tracetw.text import decoded, visible
from tracetw.timewait.carriers import CARRIER, Carriers, join
from tracetw.timewait.forecast import Forecast
from tracetw.timewait.groups import COUNTED
from tracetw.timewait.look import Look
from tracetw.timewait.settings import TIME_WAIT_S
from tracetw.timewait.snapshot import SocketKind, take
from tracetw.top.board import SECOND, Board
from tracetw.top.lines import Cell, Column, Line
from tracetw.top.span import span_of
from tracetw.top.state import Body, ViewState, fits

__all__ = ["WaitingLook", "look", "recorded", "waiting_body"]

_COLUMNS = (
    Column("PROCESS", 20, 30),
    Column("NETNS", 12, 24, keep=3),
    Column("TIME_WAIT", 9, right=True),
    Column("FIN_WAIT2", 9, right=True, keep=1),
    Column("OTHERS", 7, right=True, keep=4),
    Column("LAST ENDS", 9, right=True, keep=2),
)
_SORTS = ("TIME_WAIT", "process", "last")
_MOST = 200
_SOON_S = 600


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """Sockets that one process left: all texts ``visible``."""

    process: str
    netns: str
    time_wait: int
    fin_wait2: int
    others: int
    left_s: float


@dataclass(frozen=True, slots=True)
class WaitingLook:
    """One look.

    Attributes:
        rows: by process, most first.
        forecasts: sentences about ports, and seconds until no port is free; None for never.
        unread: namespaces that could not be read.
    """

    rows: Sequence[WaitingRow]
    forecasts: Sequence[tuple[str, float | None]] = ()
    unread: int = 0


def look(board: Board) -> WaitingLook:
    """At this host. Raises OSError without inet_diag."""
    snapshot = take()
    with board.lock:
        parts = [*board.carriers]
    rows: Carriers = np.concatenate(parts) if parts else np.zeros(0, CARRIER)
    found = Look(snapshot, join(snapshot, rows, "this trace"))
    names = {inode: space.name or str(inode) for inode, space in snapshot.spaces.items()}
    kept = [
        WaitingRow(
            process=_process(each.owner.comm, each.owner.pid) if each.owner else "unknown",
            netns=visible(names.get(each.netns, str(each.netns))),
            time_wait=int(each.counts[COUNTED.index(SocketKind.TIME_WAIT)]),
            fin_wait2=sum(int(each.counts[COUNTED.index(kind)]) for kind in _FIN_WAIT2),
            others=sum(int(each.counts[COUNTED.index(kind)]) for kind in _OTHERS),
            left_s=each.left_s,
        )
        for each in found.owned[:_MOST]
    ]
    forecasts = [_sentence(found, each) for each in found.forecasts[:_MOST]]
    return WaitingLook(kept, forecasts, len(snapshot.unread))


_FIN_WAIT2 = (SocketKind.FIN_WAIT2_ORPHAN, SocketKind.FIN_WAIT2_OWNED)
_OTHERS = (SocketKind.FIN_WAIT1_ORPHAN, SocketKind.CLOSING_ORPHAN, SocketKind.LAST_ACK_ORPHAN)


def _process(comm: bytes | None, pid: int | None) -> str:
    name = visible(decoded(comm)) if comm else "-"
    return f"{name}/{pid}" if pid else name


def _sentence(found: Look, each: Forecast) -> tuple[str, float | None]:
    row = found.snapshot.sockets[each.first : each.first + 1]
    source, target = addresses(row, "l")[0], addresses(row, "r")[0]
    to = endpoint(target, int(row["rport"][0])) if each.way == "connect" else "any (bind)"
    rate = "" if each.rate_s is None else f", {each.rate_s:,.1f}/s"
    left = each.seconds_left
    if left is None:
        when = "" if each.rate_s is None else ", lasts at this rate"
    else:
        when = f", runs out in {span(round(left * SECOND))}" if left > 0 else ", no port is left"
    text = f"{source} to {to}: {each.free:,} of {each.capacity:,} ports free{rate}{when}"
    return visible(text), left


def recorded(board: Board, state: ViewState) -> WaitingLook:
    """Of a recording: which processes left a TIME_WAIT in the last minute of the time shown."""
    until = span_of(board, state).until_ns
    since = until - round(TIME_WAIT_S * SECOND)
    parts = [*board.carriers]
    rows: Carriers = np.concatenate(parts) if parts else np.zeros(0, CARRIER)
    rows = rows[(rows["ended_ns"] > since) & (rows["ended_ns"] <= until)]
    keys, first, which = np.unique(
        rows[["comm", "pid", "netns"]], return_index=True, return_inverse=True
    )
    counts = np.bincount(which, minlength=len(keys))
    last = np.full(len(keys), since)
    np.maximum.at(last, which, rows["ended_ns"])
    context = board.contexts[0] if board.contexts else None
    found = []
    for at in np.argsort(-counts, kind="stable")[:_MOST].tolist():
        row = rows[first[at]]
        inode = int(row["netns"])
        name = context.netns_name(inode) if context is not None else None
        found.append(
            WaitingRow(
                process=_process(bytes(row["comm"]) or None, int(row["pid"]) or None),
                netns=visible(name or str(inode)),
                time_wait=int(counts[at]),
                fin_wait2=0,
                others=0,
                left_s=(int(last[at]) - since) / SECOND,
            )
        )
    return WaitingLook(found)


def waiting_body(
    seen: WaitingLook | None, state: ViewState, height: int, failed: str, *, live: bool
) -> Body:
    """The screen of one look; None: there was none yet."""
    rows = (
        []
        if seen is None
        else [row for row in seen.rows if fits(f"{row.process} {row.netns}", state.filter)]
    )
    order = state.looks.get("timewait")
    if order is not None:
        keys = {
            "TIME_WAIT": lambda row: (-row.time_wait, row.process),
            "process": lambda row: (0, row.process),
            "last": lambda row: (-np.nan_to_num(row.left_s), row.process),
        }
        rows.sort(key=keys[_SORTS[order.sort]], reverse=order.backwards)
    empty = failed or ("no look at the sockets yet" if seen is None else "nothing waits")
    return Body(
        [*_head(seen, height // 3, live=live)],
        _COLUMNS,
        len(rows),
        lambda at: _cells(rows[at]),
        sorts=_SORTS,
        empty=empty,
    )


def _head(seen: WaitingLook | None, room: int, *, live: bool) -> Iterator[Line]:
    if seen is None:
        return
    total = sum(row.time_wait for row in seen.rows)
    half = sum(row.fin_wait2 for row in seen.rows)
    yield ((f"TIME_WAIT {total:,}", "head"), (f"   FIN_WAIT2 {half:,}", "" if live else "dim"))
    if not live:
        yield (("a recording has no ports: no forecast; FIN_WAIT2 is not in it either", "dim"),)
    if seen.unread:
        yield ((f"{amount(seen.unread, 'namespace')} could not be read", "odd"),)
    for text, left in seen.forecasts[: max(room - 2, 1)]:
        soon = left is not None and left < _SOON_S
        yield ((text, "bad" if soon else "odd" if left is not None else ""),)
    more = len(seen.forecasts) - max(room - 2, 1)
    if more > 0:
        yield ((f"and {amount(more, 'destination')} more", "dim"),)
    yield ()


def _cells(row: WaitingRow) -> tuple[Cell, ...]:
    return (
        (row.process, "dim" if row.process == "unknown" else ""),
        (row.netns, "dim"),
        (f"{row.time_wait:,}", ""),
        (f"{row.fin_wait2:,}", ""),
        (f"{row.others:,}", ""),
        ("-" if np.isnan(row.left_s) else span(round(row.left_s) * SECOND), ""),
    )
