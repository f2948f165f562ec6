# SPDX-License-Identifier: Apache-2.0
"""Peers that no longer answered: powered off, cut off by the path, or with a full accept queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.count.cube import NEVER, group
from tracetw.report.count.keys import SECOND
from tracetw.report.count.served import BEGAN
from tracetw.report.incidents.context import CLIENT, SERVER, Draft, IncidentContext, episodes
from tracetw.sink.human import amount
from tracetw.verdict.taxonomy import verdict_numbers

__all__ = ["SILENT", "silences"]

SILENT = (
    "retransmit-exhausted",
    "fin-exhausted",
    "user-timeout",
    "keepalive-expired",
    "window-probe-expired",
    "connect-timeout",
    "connect-aborted",
    "unreachable",
)
"""Verdicts of a peer that was not heard of."""

_FEWEST = 3
_MOST = 2000
_TOGETHER_NS = 5 * SECOND
_SEVERAL = 3
_KEY = np.dtype([("hi", "<u8"), ("lo", "<u8"), ("port", "<u4"), ("role", "<u4")])


def silences(context: IncidentContext) -> Iterator[Draft]:
    """Each service that did not answer, each client that did not; several from one moment on are one."""
    silent = context.free & (context.verdict(*SILENT) | context.sign("nothing-ever-acknowledged"))
    which = np.flatnonzero(silent)
    drafts: list[Draft] = []
    for part in _groups(context, which):
        drafts += [
            _draft(context, one) for one in _apart(context, part) if context.count(one) >= _FEWEST
        ]
    for draft in _together(context, drafts):
        _told(context, draft)
        yield context.claim(draft)


def _groups(context: IncidentContext, which: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """By service, or by client where it was ours that listened; the largest so many."""
    if not len(which):
        return []
    cells = context.cells[which]
    keys = np.zeros(len(which), _KEY)
    keys["hi"], keys["lo"], keys["port"] = cells["peer_hi"], cells["peer_lo"], cells["port"]
    keys["role"] = cells["role"] == SERVER
    groups = group(keys)
    parts = [np.sort(which[part]) for part in np.split(groups.order, groups.starts[1:])]
    return sorted(parts, key=lambda part: -context.count(part))[:_MOST]


def _apart(context: IncidentContext, which: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Parts in time. A timer may run out long after: such cells belong to the silence that they were in."""
    cells = context.cells[which]
    services = np.unique(context.service[which])
    parts = episodes(cells["first"], cells["last"])
    if (
        len(services) == 1
        and np.isin(cells["verdict"], verdict_numbers("connect-timeout", "connect-aborted")).all()
    ):
        # Attempts that began; others give up long after.
        parts = [
            np.searchsorted(which, one)
            for part in parts
            for one in context.worked_between(int(services[0]), which[part])
        ]
    found: list[NDArray[np.intp]] = []
    since = None
    for part in parts:
        heard = cells["heard"][part]
        late = (
            (heard != NEVER) & (heard <= since) if since is not None else np.zeros(len(part), bool)
        )
        if found and late.any():
            found[-1] = np.concatenate([found[-1], which[part[late]]])
            part = part[~late]  # noqa: PLW2901
        if len(part):
            found.append(which[part])
            since = since_ns(context, which[part])
    return found


def since_ns(context: IncidentContext, which: NDArray[np.intp]) -> int:
    """When the peer was last heard of; where attempts to connect came much later, when the first of them began.

    A peer is heard of by connections that time out later, and by those that begin in order.
    """
    cells = context.cells[which]
    first = int(cells["first"].min())
    heard = cells["heard"][cells["heard"] != NEVER]
    early = heard[heard <= first]
    known = int(early.max()) if len(early) else int(min([first, *heard.tolist()]))
    attempts = np.isin(cells["verdict"], verdict_numbers("connect-timeout", "connect-aborted"))
    if not attempts.any():
        return known
    begun = context.served[_served(context, np.unique(context.service[which]).tolist())]
    before = np.where(begun["last"] <= first, begun["last"], begun["first"])
    known = max([known, *before[before <= first].tolist()])
    tried = int(cells["first"][attempts].min())
    return tried if tried - known > SECOND else known


def _served(context: IncidentContext, services: list[int]) -> NDArray[np.bool_]:
    """Cells of connections with these services that their clients saw established."""
    mine: NDArray[np.bool_] = np.isin(context.served_service, services)
    mine &= (context.served["kind"] == BEGAN) & (context.served["role"] != SERVER)
    return mine


def _draft(context: IncidentContext, which: NDArray[np.intp]) -> Draft:
    cells = context.cells[which]
    services = np.unique(context.service[which])
    since = since_ns(context, which)
    draft = Draft("silent", which, began_ns=since, silent_since_ns=since)
    if len(services) == 1:
        draft.service = context.services[services[0]]
        at, _ = context.serving(int(services[0]), int(cells["first"].max()))
        attempts = np.isin(cells["verdict"], verdict_numbers("connect-timeout", "connect-aborted"))
        last = int(cells["last"][attempts].max()) if attempts.any() else int(cells["last"].max())
        draft.back_ns = (
            at if at is not None and at > last else context.serving(int(services[0]), last)[0]
        )
    return draft


def _together(context: IncidentContext, drafts: list[Draft]) -> list[Draft]:
    """Those of one peer from one moment on, and many peers from one moment on."""
    result: list[Draft] = []
    for draft in sorted(drafts, key=_began):
        same = next((one for one in result if _same(context, one, draft)), None)
        if same is None:
            result.append(draft)
        else:
            _merge(same, draft)
    chains: list[list[Draft]] = []
    for draft in result:
        if chains and _began(draft) - _began(chains[-1][-1]) <= _TOGETHER_NS:
            chains[-1].append(draft)
        else:
            chains.append([draft])
    done: list[Draft] = []
    for chain in chains:
        if len(chain) < _SEVERAL:
            done += chain
            continue
        for other in chain[1:]:
            _merge(chain[0], other)
        done.append(chain[0])
    return done


def _began(draft: Draft) -> int:
    return draft.began_ns or 0


def _sides(context: IncidentContext, draft: Draft) -> set[tuple[int, int]]:
    """Addresses of the silent side."""
    cells = context.cells[draft.cells]
    return set(zip(cells["peer_hi"].tolist(), cells["peer_lo"].tolist(), strict=True))


def _same(context: IncidentContext, one: Draft, other: Draft) -> bool:
    if abs(_began(one) - _began(other)) > _TOGETHER_NS:
        return False
    if _sides(context, one) & _sides(context, other):
        return True
    services = set(context.service[one.cells].tolist())
    return bool(services & set(context.service[other.cells].tolist()))


def _merge(one: Draft, other: Draft) -> None:
    one.cells = np.unique(np.concatenate([one.cells, other.cells]))
    one.began_ns = min(_began(one), _began(other))
    one.silent_since_ns = one.began_ns
    if one.service != other.service:
        one.service = None
    known = [at for at in (one.back_ns, other.back_ns) if at is not None]
    one.back_ns = max(known) if len(known) == 2 else None  # noqa: PLR2004 (both came back)


def _told(context: IncidentContext, draft: Draft) -> None:
    """What the recording says of why."""
    cells = context.cells[draft.cells]
    began, ended = _began(draft) or int(cells["first"].min()), int(cells["last"].max())
    services = np.unique(context.service[draft.cells]).tolist()
    open_ = ~np.isin(cells["verdict"], verdict_numbers("connect-timeout", "connect-aborted"))
    both = int(cells["count"][context.sign("both-timed-out")[draft.cells]].sum())
    full, known = _overflowed(context, services, began, ended)
    if both:
        draft.kind = "path"
        draft.evidence.append(
            f"both ends of {amount(both, 'connection')} waited in vain: both hosts were there"
        )
    elif full:
        draft.kind = "accept-queue"
        draft.evidence.append(full)
        if len(services) == 1:
            draft.before_pid = context.server_before(services[0], began)
    elif (cells["role"] == SERVER).all():
        draft.missing.append("a recording of the clients: whether they were there")
    elif not (open_.all() and _went_on(context, draft, services, began, ended)):
        if known:
            draft.evidence.append(
                "the kernel of the listener counted no overflow of its accept queue"
            )
        # A full accept queue drops attempts, too, and leaves open connections alone (tcp_conn_request).
        meanwhile = _meanwhile(context, _sides(context, draft), services, began, ended)
        _unanswered(draft, cells, meanwhile, queue=not known and not open_.any())


def _unanswered(draft: Draft, cells: NDArray[Any], meanwhile: int, *, queue: bool) -> None:
    """The path, the peer, or a full accept queue if that cannot be ruled out."""
    if meanwhile:
        draft.evidence.append(
            f"{amount(meanwhile, 'connection')} with the same address began meanwhile, at other ports"
        )
    if not meanwhile and draft.back_ns is None:
        draft.kind = "peer-down"
        unreachable = int(
            cells["count"][np.isin(cells["verdict"], verdict_numbers("unreachable"))].sum()
        )
        if unreachable:
            draft.evidence.append(
                f"{amount(unreachable, 'connection')} ended with the error that it is unreachable"
            )
        draft.evidence.append("nothing more was heard, at any port")
        draft.missing.append("that host: one without power and one cut off look the same from here")
    elif queue:
        draft.missing.append(
            "how often the accept queue of the listener was full (ListenOverflows there): a full one and a rule that "
            "drops look the same from here"
        )
    else:
        draft.kind = "path"
        if not meanwhile:
            draft.evidence.append(
                "later it answered again, and no RST says that it had been restarted"
            )


def _went_on(
    context: IncidentContext, draft: Draft, services: list[int], began: int, ended: int
) -> bool:
    """Did others get through to the same port all the time? Then it was not down."""
    mine = _served(context, services)
    mine &= (context.served["first"] > began + SECOND) & (context.served["last"] < ended)
    count = context.count_served(mine)
    if count:
        draft.back_ns = None
        draft.evidence.append(
            f"{amount(count, 'connection')} to the same address and port began in order meanwhile"
        )
        draft.missing.append(
            "whether several machines share that address, or something on the path lost only these connections"
        )
    return count > 0


def _overflowed(
    context: IncidentContext, services: list[int], began: int, ended: int
) -> tuple[str | None, bool]:
    """What the listener's kernel says of its accept queue, and whether it can be known."""
    known = False
    for number in services:
        port = context.services[number][2]
        host = context.host_of(number)
        if host is None:
            continue
        served = (context.served_service == number) & (context.served["role"] == SERVER)
        spaces = {*context.served["netns"][served].tolist()}
        known = known or context.counted(host)
        mine = [
            one
            for one in context.overflows
            if one.source == host
            and one.netns in spaces
            and one.port in (0, port)
            and one.end_ns >= began
            and one.begin_ns <= ended + SECOND
        ]
        exact = [one for one in mine if one.port] or mine
        count = sum(one.count for one in exact)
        if count:
            what = f"of port {port}" if exact[0].port else "of its namespace (ListenOverflows)"
            return (
                f"the kernel of the listener counted {amount(count, 'overflow')} of the accept queue {what}",
                True,
            )
    return None, known


def _meanwhile(
    context: IncidentContext,
    peers: set[tuple[int, int]],
    services: list[int],
    began: int,
    ended: int,
) -> int:
    """Connections with these peers at other ports that began in that time."""
    served = context.served
    mine = (served["kind"] == BEGAN) & ~np.isin(context.served_service, services)
    mine &= (served["first"] > began) & (served["last"] < ended) & (served["role"] == CLIENT)
    which = np.flatnonzero(mine)
    places = zip(served["addr_hi"][which].tolist(), served["addr_lo"][which].tolist(), strict=True)
    chosen = [at for at, place in zip(which.tolist(), places, strict=True) if place in peers]
    return int(served["count"][chosen].sum())
