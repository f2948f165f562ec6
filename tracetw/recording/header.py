# SPDX-License-Identifier: Apache-2.0
"""The header of a segment: what a reader on another machine needs to know of the recorded one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from msgspec import structs

from tracetw.event.names import KernelNames
from tracetw.host.clock import Clock
from tracetw.host.listening import Listening
from tracetw.recording.facts import ByNetns
from tracetw.recording.schema import HeaderDocument, ListenerDocument


@dataclass(frozen=True, slots=True)
class Header:
    """Of a segment, or of a recording (that of its first segment that is there).

    Attributes:
        version: format of the files as they were written.
        run: identity of the recording, 16 hex digits.
        segment: number of the segment in it, from 0.
        host: name of the host.
        kernel: its release.
        machine: its architecture.
        machine_id: 32 hex digits that stay with its installation; None where it has none, and in
            recordings of format 1.
        boot: its boot id.
        clock: CLOCK_MONOTONIC to wall time, of all rows of the segment: when the clock is set, a new
            segment begins. For a recording, see ``Recording.clock``.
        run_started_ns: wall time when tracing began, nanoseconds since 1970.
        started_ns: wall time when the segment was begun.
        ended_ns: wall time of its last frame, of the last segment for a recording; None unknown.
        netns: inode of the network namespace of the tracer.
        names: enum names of that kernel.
        netns_names: names of its network namespaces that have one.
        sysctls: teardown settings by namespace when the segment was begun.
        counters: the kernel's counters by namespace when the segment was begun.
        hooks: programs attached.
        absent: programs that the kernel had no hook for.
        events: kinds of single events that were recorded.
        command: command line.
        filters: the options of it that chose connections; empty when all were recorded.
        comparable: no filter was finer than the kernel's counters, which are of a namespace.
        netns_traced: inodes of the network namespaces that were traced; None for all.
        tw_at_birth: that kernel counts TIME_WAIT when it begins, not when it expires.
        hidden: counter to what of it that kernel does not let a tracer see.
        max_connections: live connections that there was room for; None unknown.
        listeners: who listened where when the segment was begun.
        host_names: names of addresses in its ``/etc/hosts``.
        tracetw: version of the program.
        signals: number to name.
        errors: errno to name.
    """

    version: int
    run: str
    segment: int
    host: str
    kernel: str
    machine: str
    machine_id: str | None
    boot: str
    clock: Clock
    run_started_ns: int
    started_ns: int
    ended_ns: int | None
    netns: int
    names: KernelNames
    netns_names: Mapping[int, str]
    sysctls: ByNetns
    counters: ByNetns
    hooks: tuple[str, ...]
    absent: tuple[str, ...]
    events: frozenset[str]
    command: tuple[str, ...]
    filters: tuple[str, ...]
    tracetw: str
    signals: Mapping[int, str]
    errors: Mapping[int, str]
    comparable: bool = True
    netns_traced: tuple[int, ...] | None = None
    tw_at_birth: bool = True
    hidden: Mapping[str, str] = field(default_factory=dict)
    max_connections: int | None = None
    listeners: tuple[Listening, ...] = ()
    host_names: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {
            **{name: getattr(self, name) for name in _WRITTEN},
            "clock": asdict(self.clock),
            "names": asdict(self.names),
            "events": sorted(self.events),
            "listeners": [one._asdict() for one in self.listeners],
        }

    @classmethod
    def of(cls, version: int, document: HeaderDocument) -> Header:
        """From what :meth:`to_json` wrote, as it was checked."""
        inodes = document.netns_traced
        return cls(
            **{
                **{name: getattr(document, name) for name in _WRITTEN},
                **{name: tuple(getattr(document, name)) for name in _TUPLES},
                "version": version,
                "ended_ns": None,
                "clock": Clock(**structs.asdict(document.clock)),
                "names": KernelNames(**structs.asdict(document.names)),
                "events": frozenset(document.events),
                "netns_traced": None if inodes is None else tuple(inodes),
                "listeners": listening(document.listeners),
            }
        )


_WRITTEN = tuple(each.name for each in fields(Header) if each.name not in {"version", "ended_ns"})
_TUPLES = ("hooks", "absent", "command", "filters")


def listening(documents: Iterable[ListenerDocument]) -> tuple[Listening, ...]:
    """As they were checked."""
    return tuple(Listening(**structs.asdict(one)) for one in documents)
