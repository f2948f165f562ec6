# SPDX-License-Identifier: Apache-2.0
"""What a recording tells besides rows: samples, losses, damage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from tracetw.host.clock import Clock
from tracetw.host.listening import Listening
from tracetw.text import visible

ByNetns = Mapping[int, Mapping[str, int]]
"""Namespace inode to name to value."""


class ListenerEnd(NamedTuple):
    """A listener that closed because the last process that held it died.

    Attributes:
        time_ns: wall clock, nanoseconds since 1970.
        netns: inode of its network namespace.
        address: that it was bound to, as ``inet_ntop``.
        port: host order.
        pid, comm, cgroup: of the process; the path of its control group, None unknown.
        exit_code: as wait(2) has it.
        oom: the kernel killed it for lack of memory.
    """

    time_ns: int
    netns: int
    address: str
    port: int
    pid: int
    comm: str
    exit_code: int
    oom: bool = False
    cgroup: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The kernel's own numbers at one moment, every ten seconds, at the start and at the end.

    Attributes:
        moment: ``before`` (no hook attached yet), ``attached`` (all of them), ``running``,
            ``ended`` (before detaching), ``stopped`` (detached).
        time_ns: wall clock, nanoseconds since 1970.
        clock: relation of the clocks at that time.
        counters: by namespace, as of ``tracetw.host.counters``, and ``tw`` and ``orphan``
            (sockets in TIME_WAIT, orphans) as of ``/proc/net/sockstat``.
        sysctls: by namespace, as of ``tracetw.host.sysctl.read``.
        netns_names: names of namespaces that have one.
        stats: the tracer's own counters by name of ``Stat``, since attaching.
        unfinished: connections in FIN_WAIT2 that no record tells of (at ``stopped``; else 0).
        listeners: who listened where.
        ended: listeners whose process died since the sample before.
        changed: namespaces whose counters or settings are others than in the sample before; None:
            any may be.
    """

    moment: str
    time_ns: int
    clock: Clock
    counters: ByNetns
    sysctls: ByNetns
    netns_names: Mapping[int, str]
    stats: Mapping[str, int]
    unfinished: int
    changed: frozenset[int] | None = None
    listeners: tuple[Listening, ...] = ()
    ended: tuple[ListenerEnd, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """Records that happened and are not in the recording.

    Attributes:
        records: how many.
        where: what was full, in words: a ring buffer, the disk.
        since_ns: wall time, nanoseconds since 1970: nothing was lost before.
        until_ns: nor after.
        closes: connection ends of the recording that were written before this was known: where it
            stands among them. None in recordings that do not say.
    """

    records: int
    where: str
    since_ns: int
    until_ns: int
    closes: int | None = None


class Harm(str, Enum):
    """What is wrong with a file."""

    DAMAGED = "damaged"
    """Bytes are not what was written."""
    UNFINISHED = "unfinished"
    """It ends without its last frame: a crash, or it is being written, or was cut there."""
    MISSING = "missing"
    """Segments between others, or a file that a segment names, are not there."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One place where a recording is not whole. Everything before it is read.

    Attributes:
        harm: what is wrong.
        path: the file.
        offset: byte from where on nothing of it was used.
        closes: rows of the file before that place, all of them readable.
        events: the same for single events.
        reason: in words, one line.
    """

    harm: Harm
    path: Path
    offset: int
    closes: int
    events: int
    reason: str

    def __str__(self) -> str:
        return (
            f"{visible(str(self.path))}: {self.harm.value} at byte {self.offset}: {self.reason};"
            f" {self.closes:,} closes and {self.events:,} events before it are readable"
        )
