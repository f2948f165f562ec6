# SPDX-License-Identifier: Apache-2.0
"""What a report says, before it becomes text, JSON or a page. Times: nanoseconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tracetw.reconcile.compare import Reconciled
from tracetw.report.figures import Heat, Histogram


@dataclass(frozen=True, slots=True)
class RecordedHost:
    """One recording.

    Attributes:
        name: of the host.
        kernel: release.
        run: identity of the recording.
        begin_ns, end_ns: what it covers.
        closes: connections in it.
        damage, losses, gaps: data quality in sentences.
        reconciliation: the kernel's counters against what was explained; None when it was not
            done, ``not_reconciled`` says why.
    """

    name: str
    kernel: str
    run: str
    begin_ns: int
    end_ns: int
    closes: int
    damage: tuple[str, ...]
    losses: tuple[str, ...]
    gaps: tuple[str, ...]
    reconciliation: tuple[Reconciled, ...] | None
    not_reconciled: str | None


@dataclass(frozen=True, slots=True)
class Culprit:
    """Whose doing an incident was, as far as that is recorded.

    Attributes:
        host: recorded host of a process.
        comm, pid: of the process; the first one of several.
        unit, container: of its control group.
        address: of a peer.
        signal: that it died of, ``SIGKILL``.
        code: that it exited with.
        oom: it was killed for lack of memory.
        what: what it is.
    """

    what: str = "process"
    host: str | None = None
    comm: str | None = None
    pid: int | None = None
    unit: str | None = None
    container: str | None = None
    address: str | None = None
    signal: str | None = None
    code: int | None = None
    oom: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """A port that was connected to, and whose process listened; ``ours``: the listener's end was recorded."""

    address: str
    port: int
    ours: bool
    comm: str | None = None
    unit: str | None = None
    container: str | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of an incident.

    Attributes:
        what: ``died``, ``reset``, ``closed``, ``refused``, ``timed-out``, ``unreachable``, ``no-port``, ``other`` or
            ``back``.
        text: in words.
        count: connections; 0 for ``back``.
        began_ns, ended_ns: the first and the last of them.
    """

    what: str
    text: str
    count: int
    began_ns: int
    ended_ns: int


@dataclass(frozen=True, slots=True)
class Incident:
    """What went wrong at one time for one reason.

    Attributes:
        number: from 1, by time.
        kind: code of ``incidents.kinds.KINDS``.
        title: without times.
        sentence: all of it in words.
        began_ns, ended_ns: the first and the last sign, exact: an attempt to connect counts when it began, a
            death when the process let go, silence when the peer was last heard of.
        running: it went on when the recording began.
        actor: None: nobody is known to have acted.
        service: None: several.
        side: role of the ends that are counted, ``client`` or ``server``; None: both.
        total: connections; one with two recorded ends once.
        verdicts: connections by verdict.
        peers: addresses, the most frequent first; not all when there are many. Then how many.
        hosts, processes, ports, containers: the most frequent ones with their counts.
        phases: in the order of time.
        recovered_ns: when it worked again; None unknown.
        deaths: of processes.
        evidence, missing: what in the recording says so, and what it would take to say more.
        advice: what to do.
        stories: numbers of connections that have a story in the report.
    """

    number: int
    kind: str
    title: str
    sentence: str
    began_ns: int
    ended_ns: int
    running: bool
    actor: Culprit | None
    service: Service | None
    side: str | None
    total: int
    verdicts: Mapping[str, int]
    peers: Mapping[str, int]
    peers_count: int
    hosts: Mapping[str, int]
    processes: Mapping[str, int]
    ports: Mapping[str, int]
    containers: Mapping[str, int]
    phases: tuple[Phase, ...]
    recovered_ns: int | None
    deaths: int
    evidence: tuple[str, ...]
    missing: tuple[str, ...]
    advice: str
    stories: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """How far the clock of a host is ahead of another's, from connections between them.

    ``error_ms`` is None where only one direction was seen.
    """

    host: str
    other: str
    offset_ms: float
    error_ms: float | None
    pairs: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Witness:
    """The first connection of a cause to end."""

    time_ns: int
    host: str
    comm: str
    pid: int | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Connections that ended badly for what looks like one reason.

    Attributes:
        number: from 1, the most important first.
        kind: name in ``causes.KINDS``.
        sentence: all of it in words.
        who: peer, process or host.
        peers: addresses concerned, the most frequent first; not all when there are many.
        peers_count: how many.
        verdicts: connections by verdict.
        total: their sum.
        began_ns, ended_ns: of the stretch that stands out; None when it went on all the time.
        silent_since_ns: when the peer was last heard of; None unknown or of no meaning.
        first: who saw it first.
        hosts, processes, ports, containers: the most frequent ones with their counts.
        before_per_minute, per_minute: rate before it began, and while it lasted.
        advice: what to do.
    """

    number: int
    kind: str
    sentence: str
    who: str
    peers: tuple[str, ...]
    peers_count: int
    verdicts: Mapping[str, int]
    total: int
    began_ns: int | None
    ended_ns: int | None
    silent_since_ns: int | None
    first: Witness
    hosts: Mapping[str, int]
    processes: Mapping[str, int]
    ports: Mapping[str, int]
    containers: Mapping[str, int]
    before_per_minute: float | None
    per_minute: float | None
    advice: str


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One verdict: how often, and how often a minute before and in the incident (None: none)."""

    verdict: str
    meaning: str
    abnormal: bool
    total: int
    before_per_minute: float | None
    during_per_minute: float | None


@dataclass(frozen=True, slots=True)
class Ranked:
    """One peer, process, port or container: connections by verdict."""

    name: str
    host: str
    total: int
    abnormal: int
    first_abnormal_ns: int | None
    verdicts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Connections by verdict in bins of equal width, the first of which begins at ``begin_ns``."""

    begin_ns: int
    width_ns: int
    verdicts: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Pressure:
    """TIME_WAIT or local ports: a finding in words, and whether it is a problem."""

    host: str
    netns: int
    what: str
    held: int
    limit: int | None
    at_ns: int | None
    serious: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class SuspectSetting:
    """A sysctl that looks wrong where recorded connections lived.

    Attributes:
        host: of the recording.
        netns: inode of the network namespace with most of these connections.
        namespaces: names of all in which it has this value (the inode where there is no name).
        name, value: of the setting.
        reason, advice: what is wrong with it, what to do.
    """

    host: str
    netns: int
    namespaces: tuple[str, ...]
    name: str
    value: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class Both:
    """Connections of which both ends were recorded, and on which they do not agree.

    Attributes:
        kind: name in ``ends.DISAGREEMENTS``.
        sentence: in words.
        here, there: hosts.
        count: connections.
        first_ns: when the first of them ended.
        stories: numbers of those that have a story in the report.
    """

    kind: str
    sentence: str
    here: str
    there: str
    count: int
    first_ns: int
    stories: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """One connection.

    Attributes:
        number: from 1.
        cause: number of its cause, None for none.
        incident: number of its incident, None for none.
        close: the object of the JSON contract.
        other: that of its other end, if it was recorded.
        kind: name in ``disagree.DISAGREEMENTS`` of what the two ends do not agree on.
        disagreement: the same in words.
        ladder: steps of the drawing (``ladder.steps``).
    """

    number: int
    cause: int | None
    incident: int | None
    close: Mapping[str, Any]
    other: Mapping[str, Any] | None
    kind: str | None
    disagreement: str | None
    ladder: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        affected: connections that ended abnormally or with their process, or belong to an incident; one with two
            recorded ends counts once.
        in_incidents: how many of them belong to one.
        incidents: in the order of their beginning.
        causes: of what belongs to no incident.
        counts: how many peers, processes, ports and containers there are; the tables list 100 of each at most.
        pairs: connections of which both ends were recorded.
        clocks: how far those of the hosts are apart. Times of incidents are by the clock of the first host.
        notes: limits of this report, in sentences.
        names: of those addresses in it that have one.
    """

    hosts: tuple[RecordedHost, ...]
    begin_ns: int
    end_ns: int
    closes: int
    abnormal: int
    filtered: bool
    affected: int
    in_incidents: int
    incidents: tuple[Incident, ...]
    causes: tuple[Cause, ...]
    verdicts: tuple[VerdictRow, ...]
    timeline: Timeline
    heat: tuple[Heat, ...]
    histograms: tuple[Histogram, ...]
    peers: tuple[Ranked, ...]
    processes: tuple[Ranked, ...]
    ports: tuple[Ranked, ...]
    containers: tuple[Ranked, ...]
    counts: Mapping[str, int]
    time_wait: tuple[Pressure, ...]
    settings: tuple[SuspectSetting, ...]
    pairs: int
    clocks: tuple[ClockOffset, ...]
    both: tuple[Both, ...]
    stories: tuple[Story, ...]
    notes: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
