# SPDX-License-Identifier: Apache-2.0
"""The header of a segment: what a reader on another machine needs to know of the recorded one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tracetw.event.names import KernelNames
from tracetw.host.clock import Clock
from tracetw.host.listening import Listening
from tracetw.recording.facts import ByNetns
from tracetw.recording.schema import HeaderDocument, ListenerDocument

__all__ = ["Header", "listening"]


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

    @property
    def clock_offset_ns(self) -> int:
        """Wall time minus monotonic time when the segment was begun."""
        return self.clock.offset_ns

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "run": self.run,
            "segment": self.segment,
            "host": self.host,
            "kernel": self.kernel,
            "machine": self.machine,
            "machine_id": self.machine_id,
            "boot": self.boot,
            "clock": {"offset_ns": self.clock.offset_ns, "error_ns": self.clock.error_ns},
            "run_started_ns": self.run_started_ns,
            "started_ns": self.started_ns,
            "netns": self.netns,
            "names": {
                "tcp_states": self.names.tcp_states,
                "reset_reasons": self.names.reset_reasons,
                "drop_reasons": self.names.drop_reasons,
                "hz": self.names.hz,
            },
            "netns_names": self.netns_names,
            "sysctls": self.sysctls,
            "counters": self.counters,
            "hooks": self.hooks,
            "absent": self.absent,
            "events": sorted(self.events),
            "command": self.command,
            "filters": self.filters,
            "comparable": self.comparable,
            "netns_traced": self.netns_traced,
            "tw_at_birth": self.tw_at_birth,
            "hidden": self.hidden,
            "max_connections": self.max_connections,
            "listeners": [one._asdict() for one in self.listeners],
            "host_names": self.host_names,
            "tracetw": self.tracetw,
            "signals": self.signals,
            "errors": self.errors,
        }

    @classmethod
    def of(cls, version: int, document: HeaderDocument) -> Header:
        """From what :meth:`to_json` wrote, as it was checked."""
        names = document.names
        return cls(
            version=version,
            run=document.run,
            segment=document.segment,
            host=document.host,
            kernel=document.kernel,
            machine=document.machine,
            machine_id=document.machine_id,
            boot=document.boot,
            clock=Clock(document.clock.offset_ns, document.clock.error_ns),
            run_started_ns=document.run_started_ns,
            started_ns=document.started_ns,
            ended_ns=None,
            netns=document.netns,
            names=KernelNames(
                tcp_states=names.tcp_states,
                reset_reasons=names.reset_reasons,
                drop_reasons=names.drop_reasons,
                hz=names.hz,
            ),
            netns_names=document.netns_names,
            sysctls=document.sysctls,
            counters=document.counters,
            hooks=tuple(document.hooks),
            absent=tuple(document.absent),
            events=frozenset(document.events),
            command=tuple(document.command),
            filters=tuple(document.filters),
            tracetw=document.tracetw,
            signals=document.signals,
            errors=document.errors,
            comparable=document.comparable,
            netns_traced=None if document.netns_traced is None else tuple(document.netns_traced),
            tw_at_birth=document.tw_at_birth,
            hidden=document.hidden,
            max_connections=document.max_connections,
            listeners=listening(document.listeners),
            host_names=document.host_names,
        )


def listening(documents: Iterable[ListenerDocument]) -> tuple[Listening, ...]:
    """As they were checked."""
    return tuple(
        Listening(one.netns, one.address, one.port, one.pid, one.comm, one.uid, one.cgroup)
        for one in documents
    )
