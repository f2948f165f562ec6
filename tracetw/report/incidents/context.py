# SPDX-License-Identifier: Apache-2.0
"""The cells in which incidents are found: what went wrong, which process served the port, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracetw.recording.facts import ListenerEnd
from tracetw.replay.names import known_throughout
from tracetw.report.count.cube import group
from tracetw.report.count.keys import SECOND, fill, is_loopback
from tracetw.report.count.scan import Scan
from tracetw.report.count.served import BEGAN, ENDED
from tracetw.report.count.wrong import SIGNS
from tracetw.report.ends.join import Joined
from tracetw.report.incidents.counters import OVERFLOWS, Overflows, overflows
from tracetw.stream.known import Known, PortListener, port_key
from tracetw.verdict.taxonomy import verdict_numbers

CLIENT, SERVER = 1, 2
_APART_NS = 30 * SECOND
_TIMES_APART = 4
_WORKED_NS, _WORKED = 5 * SECOND, 2
_MOST_APART_NS = 60 * SECOND
_MOST_ENDED = 100_000

_SERVICE = np.dtype([("hi", "<u8"), ("lo", "<u8"), ("port", "<u4"), ("where", "<u4")])

Service = tuple[int, int, int, int]
"""Both words of the listening address, its port, and for a loopback address whose it is, else 0."""


class Ended(NamedTuple):
    """A listener whose process died: in which recording, and when by the clock of the first one."""

    source: int
    at_ns: int
    end: ListenerEnd


@dataclass(slots=True)
class Draft:
    """An incident that is being put together.

    Attributes:
        kind: code of ``kinds.KINDS``.
        cells: indexes of its cells.
        began_ns: its first sign, if that is earlier than that of its cells.
        actor: index of the cell that says whose doing it was; None: nobody is known to have acted.
        service: that was hit, if it is one.
        back_ns, back_pid: when it was served again, by which process; None unknown.
        before_pid: the process that served it before.
        deaths: of processes, one moment each.
        evidence, missing: sentences.
        silent_since_ns: when the peer was last heard of.
        running: it went on when the recording began.
        ended: the listener that says whose doing it was, if no connection does.
        again: those of the same program that died after it.
    """

    kind: str
    cells: NDArray[np.intp]
    began_ns: int | None = None
    actor: int | None = None
    service: Service | None = None
    back_ns: int | None = None
    back_pid: int | None = None
    before_pid: int | None = None
    deaths: int = 0
    evidence: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    silent_since_ns: int | None = None
    running: bool = False
    ended: Ended | None = None
    again: tuple[Ended, ...] = ()


@dataclass(slots=True)
class IncidentContext:
    """Times are nanoseconds since 1970 by the clock of the first recording.

    Attributes:
        scan: the counts.
        joined: both ends, if any connection has two.
        cells: of dtype ``PULSE`` with its measures.
        free: which of them belong to no incident yet.
        service: number of the service of each cell, in ``services``.
        services: address, port and where.
        served: cells of ``served`` with the field ``service`` beside them in ``served_service``.
        here: local addresses of each recording.
        overflows: of accept queues, by namespace.
        begin_ns, end_ns: what was looked at.
        ended: listeners whose process died.
        known: who listened, by number of the recording, as far as that was asked.
    """

    scan: Scan
    joined: Joined | None
    cells: NDArray[Any]
    free: NDArray[np.bool_]
    service: NDArray[np.intp]
    services: list[Service]
    served: NDArray[Any]
    served_service: NDArray[np.intp]
    here: list[frozenset[tuple[int, int]]]
    overflows: list[Overflows]
    begin_ns: int
    end_ns: int
    ended: list[Ended] = field(default_factory=list)
    known: dict[int, Known] = field(default_factory=dict)

    def verdict(self, *names: str) -> NDArray[np.bool_]:
        """Which cells have one of these verdicts."""
        chosen: NDArray[np.bool_] = np.isin(self.cells["verdict"], verdict_numbers(*names))
        return chosen

    def sign(self, *names: str) -> NDArray[np.bool_]:
        """Which cells have one of these signs."""
        mask = np.uint16(sum(SIGNS[name] for name in names))
        chosen: NDArray[np.bool_] = (self.cells["signs"] & mask) != 0
        return chosen

    def count(self, which: NDArray[Any]) -> int:
        """Connections of these cells."""
        return int(self.cells["count"][which].sum())

    def claim(self, draft: Draft) -> Draft:
        """Its cells are free no more."""
        self.free[draft.cells] = False
        return draft

    def began_ns(self, draft: Draft) -> int:
        """The first sign of an incident."""
        first = int(self.cells["first"][draft.cells].min())
        return first if draft.began_ns is None else min(first, draft.began_ns)

    def counted(self, source: int) -> bool:
        """Does a recording have the kernel's counter of full accept queues?"""
        header = self.scan.sources[source].recording.header
        return any(OVERFLOWS in values for values in header.counters.values())

    def listener(self, service: int) -> PortListener | None:
        """Who listened on its port all along; None: its host was not recorded, or nobody knows."""
        host = self.host_of(service)
        if host is None:
            return None
        if host not in self.known:
            self.known[host] = known_throughout(self.scan.sources[host].recording)
        mine = (self.served_service == service) & (self.served["role"] == SERVER)
        cells = (self.service == service) & (self.cells["role"] == SERVER)
        spaces = {*self.served["netns"][mine].tolist(), *self.cells["netns"][cells].tolist()}
        found = {
            self.known[host].listeners.get(port_key(netns, self.services[service][2]))
            for netns in spaces
        }
        return found.pop() if len(found) == 1 else None

    def resets_sent(self, service: int) -> int | None:
        """RSTs that the kernel of a listener counted in all of the recording; None unknown."""
        host = self.host_of(service)
        mine = (self.served_service == service) & (self.served["role"] == SERVER)
        spaces = {*self.served["netns"][mine].tolist()}
        if host is None or len(spaces) != 1:
            return None
        netns = spaces.pop()
        counts = [
            sample.counters[netns].get("OutRsts")
            for sample in self.scan.sources[host].recording.samples()
            if netns in sample.counters
        ]
        known = [count for count in counts if count is not None]
        return known[-1] - known[0] if len(known) > 1 else None

    def host_of(self, service: int) -> int | None:
        """Number of the recording that has the listener of a service; None: not recorded."""
        mine = self.served[(self.served_service == service) & (self.served["role"] == SERVER)]
        if len(mine):
            return int(mine["source"][0])
        cells = self.cells[(self.service == service) & (self.cells["role"] == SERVER)]
        return int(cells["source"][0]) if len(cells) else None

    def serving(
        self, service: int, since_ns: int, not_pid: int = 0
    ) -> tuple[int | None, int | None]:
        """When a service was first used after a time, and by which process it was served then.

        Where the listener's end is recorded only that counts; ``not_pid`` does not.
        """
        mine = (self.served_service == service) & (self.served["kind"] == BEGAN)
        server = mine & (self.served["role"] == SERVER)
        chosen = server if server.any() else mine
        chosen = chosen & (self.served["last"] > since_ns)
        if not_pid:
            chosen = chosen & (self.served["pid"] != not_pid)
        if not chosen.any():
            return None, None
        after = self.served[chosen]
        # A cell is a second wide: where it begins before, only its last is known to be after.
        at = np.where(after["first"] > since_ns, after["first"], after["last"])
        first = int(np.argmin(at))
        return int(at[first]), int(after["pid"][first]) or None

    def server_before(self, service: int, at_ns: int) -> int | None:
        """The process that served a service last before a time; None unknown."""
        mine = (self.served_service == service) & (self.served["role"] == SERVER)
        before = self.served[mine & (self.served["first"] < at_ns) & (self.served["pid"] != 0)]
        if not len(before):
            return None
        return int(before["pid"][np.argmax(before["last"])])

    def count_served(self, which: NDArray[Any]) -> int:
        """Connections of these cells of ``served``."""
        return int(self.served["count"][which].sum())

    def worked_between(self, service: int, which: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Cells in parts between which the service worked for some seconds."""
        cells = self.cells[which]
        order = np.argsort(cells["first"], kind="stable")
        until = np.maximum.accumulate(cells["last"][order])
        begin, end = until[:-1], cells["first"][order][1:]
        places = np.flatnonzero(end - begin >= _WORKED_NS)
        mine = (self.served_service == service) & (self.served["kind"] == BEGAN)
        begun = np.sort(self.served["first"][mine])
        good = [
            place + 1
            for place in places.tolist()
            if np.searchsorted(begun, end[place] - SECOND) - np.searchsorted(begun, begin[place])
            >= _WORKED
        ]
        return [which[part] for part in np.split(order, good)]

    def ended_by(self, service: int, pid: int, begin_ns: int, end_ns: int) -> int:
        """Connections that a process had served for a while and that ended in a stretch of time."""
        mine = (self.served_service == service) & (self.served["kind"] == ENDED)
        mine &= (self.served["pid"] == pid) & (self.served["last"] >= begin_ns)
        return self.count_served(mine & (self.served["first"] <= end_ns))


def incident_context(
    scan: Scan, joined: Joined | None, begin_ns: int, end_ns: int
) -> IncidentContext:
    """From what was counted."""
    cells, served = scan.pulses.cells(), scan.served.cube.cells()
    ahead = np.zeros(len(scan.sources), np.int64)
    if joined is not None:
        ahead = joined.ahead_ns(len(scan.sources))
    hosts = np.array([scan.hosts.index(name) for name in scan.hosts], np.uint32)
    wanted = np.concatenate([_services(cells, hosts), _served(served, hosts)])
    groups = group(wanted)
    numbers = groups.inverse()
    mine = scan.locals.cells()
    return IncidentContext(
        scan=scan,
        joined=joined,
        cells=cells,
        free=np.ones(len(cells), np.bool_),
        service=numbers[: len(cells)],
        services=[tuple(one) for one in wanted[groups.firsts].tolist()],
        served=served,
        served_service=numbers[len(cells) :],
        here=[
            frozenset(
                zip(
                    *(mine[name][mine["source"] == number].tolist() for name in ("hi", "lo")),
                    strict=True,
                )
            )
            for number in range(len(scan.sources))
        ],
        overflows=overflows(scan, ahead),
        ended=_ended(scan, ahead),
        begin_ns=begin_ns,
        end_ns=end_ns,
    )


def _ended(scan: Scan, ahead: NDArray[np.int64]) -> list[Ended]:
    return [
        Ended(number, one.time_ns - int(ahead[number]), one)
        for number, source in enumerate(scan.sources)
        for sample in source.recording.samples()
        for one in sample.ended
    ][:_MOST_ENDED]


def _services(cells: NDArray[Any], hosts: NDArray[np.uint32]) -> NDArray[Any]:
    server = cells["role"] == SERVER
    made = fill(_SERVICE, cells)
    for name, here, peer in (("hi", "here_hi", "peer_hi"), ("lo", "here_lo", "peer_lo")):
        made[name] = np.where(server, cells[here], cells[peer])
    return _located(made, cells["source"], hosts)


def _served(served: NDArray[Any], hosts: NDArray[np.uint32]) -> NDArray[Any]:
    made = fill(_SERVICE, served)
    made["hi"], made["lo"] = served["addr_hi"], served["addr_lo"]
    return _located(made, served["source"], hosts)


def _located(made: NDArray[Any], source: NDArray[Any], hosts: NDArray[np.uint32]) -> NDArray[Any]:
    loop = is_loopback(made["hi"], made["lo"])
    made["where"] = np.where(loop, hosts[source] + 1, 0)
    return made


def episodes(
    first: NDArray[np.int64], last: NDArray[np.int64], most_ns: int = _MOST_APART_NS
) -> list[NDArray[np.intp]]:
    """Indexes in groups between which there is a long pause, earliest first.

    A pause is long from 30 s on, or from four times the usual pause on, but not above ``most_ns``.
    """
    order = np.argsort(first, kind="stable")
    if not len(order):
        return []
    until = np.maximum.accumulate(last[order])
    gaps = np.maximum(first[order][1:] - until[:-1], 0)
    usual = float(np.median(gaps)) * _TIMES_APART if len(gaps) else 0.0
    long = min(max(_APART_NS, usual), most_ns)
    return np.split(order, np.flatnonzero(gaps > long) + 1)
