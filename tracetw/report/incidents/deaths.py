# SPDX-License-Identifier: Apache-2.0
"""Deaths of processes, what they did to the connections of their ports, and the listener that came back."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tracetw.report.count.cube import group
from tracetw.report.count.keys import PULSE, SECOND, fill
from tracetw.report.count.wrong import CRASHES
from tracetw.report.incidents.context import SERVER, Draft, Ended, IncidentContext, episodes
from tracetw.report.incidents.idle import (
    at_service,
    ended_before,
    loops,
    told_by,
    told_by_loop,
    violent,
)
from tracetw.sink.human import amount
from tracetw.verdict.taxonomy import CLOSED_BY, verdict_numbers

__all__ = ["deaths", "restarts"]

_OOM = CLOSED_BY.index("oom-kill")
_EXIT = CLOSED_BY.index("process-exit")
_ASKED = {int(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)}
_ORDINARY = _ASKED | {int(signal.SIGPIPE), int(signal.SIGALRM)}
_SIGNAL = 127
_LOOP = 3
_AT_ONCE_NS = SECOND
_KILLED_NS = 5 * SECOND
_SOON_NS = SECOND // 2
_GAP_NS = 30 * SECOND
_FEWEST = 3
_MOST = 2000
_FOLLOWS = (
    "connect-refused",
    "peer-reset",
    "peer-lost-state",
    "stale-syn-reset",
    "connect-timeout",
    "abort-listener",
    "accept-aborted",
)


def deaths(context: IncidentContext) -> Iterator[Draft]:
    """Each death of a server, and of a client by what nobody asks for; several soon after another are a loop."""
    dead = CRASHES[context.cells["closed_by"]]
    for which in _programs(context, np.flatnonzero(dead & context.free)):
        cells = context.cells[which]
        killed = (cells["exit"] & _SIGNAL == signal.SIGKILL) & (cells["closed_by"] != _OOM)
        for part in episodes(cells["first"], cells["first"]):
            if killed[part].all():  # a program does not send it to itself: that is no loop
                for each in _moments(cells["first"][part], _KILLED_NS):
                    yield from _episode(context, which[part[each]])
            else:
                yield from _episode(context, which[part])


def _programs(context: IncidentContext, which: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Cells of each program of each namespace, at most so many programs."""
    if not len(which):
        return
    whose = np.zeros(len(which), PULSE)
    for name in ("source", "netns", "comm"):
        whose[name] = context.cells[name][which]
    groups = group(fill(PULSE, whose))
    for part in np.split(groups.order, groups.starts[1:])[:_MOST]:
        yield which[part]


def _episode(context: IncidentContext, which: NDArray[np.intp]) -> Iterator[Draft]:
    cells = context.cells[which]
    codes_ = cells["exit"] & _SIGNAL
    server = cells["role"] == SERVER
    oom = cells["closed_by"] == _OOM
    if not (server.any() or oom.any() or not np.isin(codes_, [*_ORDINARY]).all()):
        return
    moments = [which[part] for part in _moments(cells["first"])]
    if len(moments) >= _LOOP:
        yield _death(context, which, "crash-loop", len(moments))
        return
    for each in moments:
        part = context.cells[each]
        if (part["closed_by"] == _OOM).any():
            kind = "oom"
        else:
            kind = "stop" if np.isin(part["exit"] & _SIGNAL, [*_ASKED]).all() else "kill"
        draft = _death(context, each, kind, 1)
        if draft.kind == "stop" and draft.back_ns is not None:
            draft.kind = "restart"
        yield draft


def _moments(first: NDArray[np.int64], apart_ns: int = _AT_ONCE_NS) -> list[NDArray[np.intp]]:
    """Deaths within a second are one: of the processes of one server."""
    order = np.argsort(first, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(first[order]) > apart_ns) + 1)


def _death(context: IncidentContext, which: NDArray[np.intp], kind: str, count: int) -> Draft:
    cells = context.cells[which]
    began = int(cells["first"].min())
    actor = int(which[np.argmin(cells["first"])])
    server = cells["role"] == SERVER
    services = np.unique(context.service[which[server]])
    last_death = int(cells["first"].max())
    dead_pid = int(cells["pid"][np.argmax(cells["first"])])
    mine, back, back_pid = [which], None, None
    for service in services.tolist():
        at, pid = context.serving(service, last_death, dead_pid)
        part = after(context, service, began, at)
        mine.append(part)
        if at is not None and (back is None or at < back):
            back, back_pid = at, pid
    same = context.free & (context.cells["source"] == cells["source"][0])
    same &= np.isin(context.cells["pid"], cells["pid"][cells["pid"] > 0])
    same &= (context.cells["first"] >= began - _SOON_NS) & (
        context.cells["first"] <= last_death + SECOND
    )
    mine.append(np.flatnonzero(same))
    draft = Draft(
        kind=kind,
        cells=np.unique(np.concatenate(mine)),
        actor=actor,
        service=context.services[services[0]] if len(services) == 1 else None,
        back_ns=back,
        back_pid=back_pid,
        before_pid=dead_pid or None,
        deaths=count,
    )
    return context.claim(draft)


def after(
    context: IncidentContext, service: int, began: int, back: int | None, soon_ns: int = _SOON_NS
) -> NDArray[np.intp]:
    """Cells of what a port that nobody served did to those who used it, from a moment on."""
    mine = context.free & (context.service == service) & context.verdict(*_FOLLOWS)
    mine &= context.cells["first"] >= began - soon_ns
    if back is not None:
        mine &= context.cells["first"] <= back + _SOON_NS
        return np.flatnonzero(mine)
    which = np.flatnonzero(mine)
    cells = context.cells[which]
    parts = episodes(cells["first"], cells["last"])
    if not parts or int(cells["first"][parts[0]].min()) > began + _GAP_NS:
        return which[:0]
    return which[parts[0]]


def restarts(context: IncidentContext) -> Iterator[Draft]:
    """Ports that refused for a while, and processes that cut connections when they exited."""
    cut = context.free & (context.cells["closed_by"] == _EXIT) & (context.cells["role"] == SERVER)
    for service in np.unique(context.service[cut]).tolist()[:_MOST]:
        which = np.flatnonzero(cut & (context.service == service))
        for part in episodes(context.cells["first"][which], context.cells["last"][which]):
            mine = which[part]
            began = int(context.cells["first"][mine].min())
            pid = int(context.cells["pid"][mine[np.argmin(context.cells["first"][mine])]])
            back, back_pid = context.serving(service, began, pid)
            follows = after(context, service, began, back)
            if context.count(mine) + context.count(follows) < _FEWEST:
                continue
            draft = Draft(
                kind="stop" if back is None else "restart",
                cells=np.unique(np.concatenate([mine, follows])),
                actor=int(mine[0]),
                service=context.services[service],
                back_ns=back,
                back_pid=back_pid,
                before_pid=pid or None,
            )
            yield context.claim(draft)
    yield from _idle(context)
    refused = context.free & np.isin(context.cells["verdict"], verdict_numbers("connect-refused"))
    for service in np.unique(context.service[refused]).tolist()[:_MOST]:
        which = np.flatnonzero(refused & context.free & (context.service == service))
        for part in episodes(context.cells["first"][which], context.cells["last"][which]):
            for mine in context.worked_between(service, which[part]):
                if context.count(mine) >= _FEWEST:
                    yield context.claim(_refused(context, service, mine))


def _idle(context: IncidentContext) -> Iterator[Draft]:
    """Deaths of servers that held no connection: the refusals soon after. Loops first, since one is many deaths."""
    refused = context.free & context.verdict("connect-refused")
    single = sorted(filter(violent, context.ended), key=lambda one: one.at_ns)
    for dead in [*[*loops(context)][:_MOST], *((one,) for one in single[:_MOST])]:
        for service in np.unique(context.service[refused & context.free]).tolist()[:_MOST]:
            draft = _refused_after(context, dead, service)
            if draft is not None:
                yield context.claim(draft)


def _refused_after(context: IncidentContext, dead: Sequence[Ended], service: int) -> Draft | None:
    """Refusals of a service from the first of these deaths of one program on, if it was that program's."""
    heard = [one for one in dead if one.end.port == context.services[service][2]]
    if not heard:
        return None
    first, last = dead[0], dead[-1]
    back, back_pid = context.serving(service, last.at_ns, last.end.pid)
    mine = after(context, service, first.at_ns, back, soon_ns=0)
    cells = context.cells[mine]
    places = {*zip(cells["source"].tolist(), cells["netns"].tolist(), strict=True)}
    if not len(mine) or not any(at_service(context, one, service, places) for one in heard):
        return None
    draft = Draft(
        kind="crash-loop" if len(dead) > 1 else "kill",
        cells=mine,
        service=context.services[service],
        back_ns=back,
        back_pid=back_pid,
    )
    if len(dead) > 1:
        told_by_loop(draft, dead)
    else:
        told_by(draft, first)
    return draft


def _refused(context: IncidentContext, service: int, mine: NDArray[np.intp]) -> Draft:
    """Nobody listened, or a rule answered: by whom it was served before and after tells some of it."""
    began, ended = int(context.cells["first"][mine].min()), int(context.cells["last"][mine].max())
    back, back_pid = context.serving(service, ended)
    before = context.server_before(service, began)
    resets = context.free & (context.service == service)
    resets &= context.verdict("peer-reset", "peer-lost-state", "stale-syn-reset", "abort-listener")
    resets &= context.cells["first"] >= began - 2 * SECOND
    resets &= context.cells["first"] <= ended + SECOND
    draft = Draft(
        kind="service-down",
        cells=np.unique(np.concatenate([mine, np.flatnonzero(resets)])),
        service=context.services[service],
        back_ns=back,
        back_pid=back_pid,
        before_pid=before,
    )
    dead = ended_before(context, service, mine)
    if dead is not None:
        told_by(draft, dead)
        if violent(dead):
            return draft
        before = dead.end.pid
    if not before or not back_pid:
        if dead is None:
            draft.missing.append("the end of the listener, or how its process ended")
    elif before == back_pid:
        _answered(context, service, mine, draft)
    else:
        draft.evidence.append(
            f"it was served by pid {before} before and by pid {back_pid} afterwards"
        )
        drained = context.ended_by(service, before, began - SECOND // 4, back or ended)
        if resets.any():
            draft.kind = "restart"
        elif drained:
            draft.kind = "deploy"
            draft.evidence.append(
                f"{amount(drained, 'connection')} of pid {before} ended in order meanwhile"
            )
        elif dead is None:
            draft.missing.append(f"how pid {before} ended: no connection of it was open")
    return draft


def _answered(context: IncidentContext, service: int, mine: NDArray[np.intp], draft: Draft) -> None:
    """One process served it all the time: did its kernel send the RST?"""
    draft.evidence.append(f"pid {draft.before_pid} served it before and afterwards")
    sent = context.resets_sent(service)
    count = context.count(mine)
    if sent is not None and sent < count / 2:
        draft.kind = "path"
        draft.evidence.append(
            f"TCP of that host sent only {amount(sent, 'RST')} (OutRsts) while {count:,} attempts were refused: "
            "something else answered them"
        )
