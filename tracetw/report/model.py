# SPDX-License-Identifier: Apache-2.0
"""What a report says, before it becomes text, JSON or a page. Times: nanoseconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracetw.reconcile.compare import Reconciled
from tracetw.report.figures import Heat, Histogram

__all__ = [
    "Both",
    "Cause",
    "Host",
    "Incident",
    "Pressure",
    "Ranked",
    "Report",
    "Setting",
    "Story",
    "Timeline",
    "VerdictRow",
    "Witness",
]


@dataclass(frozen=True, slots=True)
class Host:
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
class Incident:
    """From the first beginning to the last end of the causes that weigh."""

    begin_ns: int
    end_ns: int
    abnormal: int
    closes: int
    before_abnormal: int
    before_closes: int
    before_s: float


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
class Setting:
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
        stories: numbers of those that are told in full.
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
        close: the object of the JSON contract.
        other: that of its other end, if it was recorded.
        kind: name in ``disagree.DISAGREEMENTS`` of what the two ends do not agree on.
        disagreement: the same in words.
        ladder: steps of the drawing (``ladder.steps``).
    """

    number: int
    cause: int | None
    close: Mapping[str, Any]
    other: Mapping[str, Any] | None
    kind: str | None
    disagreement: str | None
    ladder: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        counts: how many peers, processes, ports and containers there are; of each table at most
            100 are told.
        pairs: connections of which both ends were recorded.
        notes: limits of this report, in sentences.
    """

    hosts: tuple[Host, ...]
    begin_ns: int
    end_ns: int
    closes: int
    abnormal: int
    filtered: bool
    incident: Incident | None
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
    settings: tuple[Setting, ...]
    pairs: int
    both: tuple[Both, ...]
    stories: tuple[Story, ...]
    notes: tuple[str, ...]
