# SPDX-License-Identifier: Apache-2.0
"""Drafts as incidents: actor, service, phases, and all of it in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import exit_status
from tracetw.host.cgroup import container, unit
from tracetw.report.causes.sentences import by_name, port_name, process_name
from tracetw.report.count.keys import SECOND, address
from tracetw.report.count.wrong import CRASHES
from tracetw.report.incidents.context import CLIENT, SERVER, Draft, Ended, IncidentContext
from tracetw.report.incidents.kinds import KINDS
from tracetw.report.incidents.phases import phases
from tracetw.report.model import Culprit, Incident, Phase, Service, Story
from tracetw.report.render.phrases import Words, addresses, joined
from tracetw.sink.human import endpoint
from tracetw.text import decoded
from tracetw.verdict.taxonomy import CLOSED_BY, VERDICTS, verdict_numbers

_SHOWN = 20
_LIST = 200
_REFUSED = "something on the path refused connections to {service}"
_OOM = CLOSED_BY.index("oom-kill")
_BY_PROCESS = frozenset(
    {"kill", "oom", "crash-loop", "restart", "stop", "deploy", "aborts", "listener", "failed"}
)
_BY_HOST = frozenset({"memory", "admin", "blocked", "mptcp", "undetermined"})


def tell(context: IncidentContext, draft: Draft, number: int, words: Words) -> Incident:
    """One incident."""
    cells = context.cells[draft.cells]
    began, ended = context.began_ns(draft), int(cells["last"].max())
    hosts = context.scan.hosts
    peers = by_name(cells, ("peer_hi", "peer_lo"), address)
    ports = by_name(cells, ("port",), port_name)
    roles = {*cells["role"].tolist()}
    kind = KINDS[draft.kind]
    actor, service = _actor(context, draft, cells), _service(context, draft)
    who = _who(context, draft, cells, actor)
    what = _reached(context, draft, service, peers)
    form = _REFUSED if draft.kind == "path" and _refused(cells) else kind.title
    title = form.format(
        who=who, service=what, how=(actor and actor.signal) or "a signal", deaths=draft.deaths
    )
    parts = phases(context, draft, words)
    leading = int(np.argmax(np.bincount(cells["verdict"], weights=cells["count"])))
    total = int(cells["count"].sum())
    return Incident(
        number=number,
        kind=draft.kind,
        title=title,
        sentence=_sentence(draft, title, parts, _when(words, began, ended)),
        began_ns=began,
        ended_ns=max(ended, began),
        running=draft.running,
        actor=actor,
        service=service,
        side={frozenset({CLIENT}): "client", frozenset({SERVER}): "server"}.get(frozenset(roles)),
        total=total,
        verdicts=by_name(cells, ("verdict",), lambda verdict: VERDICTS[verdict].code),
        peers=_top(peers, _LIST),
        peers_count=len(peers),
        hosts=by_name(cells, ("source",), lambda source: hosts[source]),
        processes=_top(by_name(cells, ("comm", "pid"), process_name), _SHOWN),
        ports=_top(ports, _SHOWN),
        containers=_top(by_name(cells, ("source", "cgroup"), context.scan.container), _SHOWN),
        phases=parts,
        recovered_ns=draft.back_ns,
        deaths=draft.deaths,
        evidence=tuple(draft.evidence),
        missing=tuple(draft.missing),
        advice=kind.advice or VERDICTS[leading].advice,
    )


def _refused(cells: NDArray[Any]) -> bool:
    """Did something answer with a RST or an ICMP error, rather than with nothing?"""
    return bool(np.isin(cells["verdict"], verdict_numbers("connect-refused")).any())


def _top(counts: dict[str, int], most: int) -> dict[str, int]:
    return dict([*counts.items()][:most])


def _actor(context: IncidentContext, draft: Draft, cells: NDArray[Any]) -> Culprit | None:
    hosts = context.scan.hosts
    if draft.ended is not None:
        return _dead(context, draft.ended)
    if draft.kind in ("deploy", "accept-queue") and (draft.service or draft.before_pid):
        return _server(context, draft)
    if draft.kind in ("path", "forgotten"):
        return None
    if draft.actor is None:
        return None
    one = context.cells[draft.actor]
    source = int(one["source"])
    path = (
        context.scan.sources[source].recording.cgroup_path(int(one["cgroup"]))
        if one["cgroup"]
        else None
    )
    dead = bool(CRASHES[one["closed_by"]])
    code, signal, _ = exit_status(int(one["exit"])) if dead else (None, None, False)
    pids = {*cells["pid"][cells["comm"] == one["comm"]].tolist()} - {0}
    pid = int(one["pid"]) or None
    if draft.kind not in ("kill", "oom", "crash-loop", "restart", "stop") and len(pids) > 1:
        pid = None
    return Culprit(
        host=hosts[source],
        comm=decoded(bytes(one["comm"])) or None,
        pid=pid,
        unit=unit(path),
        container=container(path),
        signal=signal if dead else None,
        code=code if dead else None,
        oom=bool(one["closed_by"] == _OOM),
    )


def _dead(context: IncidentContext, one: Ended) -> Culprit:
    """The process of a listener that closed as it died."""
    code, name, _ = exit_status(one.end.exit_code)
    return Culprit(
        host=context.scan.hosts[one.source],
        comm=one.end.comm or None,
        pid=one.end.pid,
        unit=unit(one.end.cgroup),
        container=container(one.end.cgroup),
        signal=name,
        code=code,
        oom=one.end.oom,
    )


def _server(context: IncidentContext, draft: Draft) -> Culprit | None:
    """The process that served a port before; its name is that of its connections."""
    source = context.host_of(int(context.service[draft.cells[0]]))
    if source is None or not draft.before_pid:
        return None
    known = context.scan.cells.cells()
    mine = known[(known["source"] == source) & (known["pid"] == draft.before_pid)]
    comm = decoded(bytes(mine["comm"][0])) if len(mine) else ""
    group = int(mine["cgroup"][0]) if len(mine) else 0
    path = context.scan.sources[source].recording.cgroup_path(group) if group else None
    return Culprit(
        host=context.scan.hosts[source],
        comm=comm or None,
        pid=draft.before_pid,
        unit=unit(path),
        container=container(path),
    )


def _service(context: IncidentContext, draft: Draft) -> Service | None:
    if draft.service is None:
        return None
    high, low, port, _ = draft.service
    number = context.services.index(draft.service)
    heard = context.listener(number)
    path = None if heard is None else heard.cgroup
    return Service(
        address(high, low),
        port,
        ours=context.host_of(number) is not None,
        comm=None if heard is None else heard.comm,
        unit=unit(path),
        container=container(path),
    )


def _who(context: IncidentContext, draft: Draft, cells: NDArray[Any], actor: Culprit | None) -> str:
    """The process, the peers or the host that acted."""
    if draft.kind in _BY_PROCESS and actor is not None:
        return process_name((actor.comm or "").encode(), actor.pid or 0)
    if draft.kind in _BY_HOST:
        return joined([*by_name(cells, ("source",), lambda source: context.scan.hosts[source])])
    return addresses(by_name(cells, ("peer_hi", "peer_lo"), address))


def _reached(
    context: IncidentContext, draft: Draft, service: Service | None, peers: dict[str, int]
) -> str:
    """The side that was to be reached, by its role."""
    server = context.cells["role"][draft.cells] == SERVER
    if draft.kind in ("silent", "peer-down", "slow-consumer") and server.all():
        # Ours listened: those that fell silent are clients.
        port = f" of our port {service.port}" if service else ""
        one = len(peers) == 1
        return f"{'client' if one else 'clients'} {addresses(peers)}{port}"
    if service is not None:
        return endpoint(service.address, service.port)
    if draft.kind in ("deploy", "service-down"):
        numbers = np.unique(context.service[draft.cells]).tolist()
        hit = sorted(context.services[number] for number in numbers)
        return joined([endpoint(address(high, low), port) for high, low, port, _ in hit])
    return addresses(peers)


def _sentence(draft: Draft, title: str, parts: tuple[Phase, ...], when: str) -> str:
    if draft.running:
        when = "From the beginning of the recording"
    told = "; ".join(one.text for one in parts)
    why = f" ({'; '.join(draft.evidence)})" if draft.evidence else ""
    return f"{when}: {title}: {told}{why}"


def _when(words: Words, began: int, ended: int) -> str:
    if ended - began < SECOND:
        return f"At {words.time(began)}"
    return f"From {words.between(began, ended)}"


def reader(stories: Sequence[Story]) -> Culprit | None:
    """The process at the other end of these connections, if it was recorded and is one."""
    others = [one.other for one in stories if one.other is not None]
    known = {(one["host"], one["comm"], one["container"]) for one in others}
    if len(known) != 1:
        return None
    host, comm, group = known.pop()
    pids = {one["pid"] for one in others}
    return Culprit(
        host=host,
        comm=comm,
        pid=pids.pop() if len(pids) == 1 else None,
        unit=unit(others[0]["cgroup"]),
        container=group,
    )
