# SPDX-License-Identifier: Apache-2.0
"""The header of a segment on the host that is being recorded."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracetw import __version__
from tracetw.event.names import KernelNames
from tracetw.host.clock import Clock
from tracetw.host.identity import boot_id, machine_id
from tracetw.reconcile.scope import Scope
from tracetw.recording.convert import FORMAT_VERSION
from tracetw.recording.facts import Sample
from tracetw.recording.header import Header


@dataclass(frozen=True, slots=True)
class Describe:
    """What all segments of a recording have in common; attributes as of ``Header``.

    ``clock`` is the one by which the recording begins, ``scope`` what can be compared in it.
    """

    names: KernelNames
    netns: int
    hooks: tuple[str, ...]
    absent: tuple[str, ...]
    events: frozenset[str]
    command: tuple[str, ...]
    filters: tuple[str, ...]
    scope: Scope = field(default_factory=Scope)
    clock: Clock = field(default_factory=Clock.now)
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    started_ns: int = field(default_factory=time.time_ns)
    max_connections: int | None = None
    host_names: Mapping[str, str] = field(default_factory=dict)

    def header(self, segment: int, sample: Sample, clock: Clock) -> Header:
        """Of a segment that begins now, with the numbers of the latest ``sample``.

        ``clock`` is the one by which live output tells the times of its rows.
        """
        system = os.uname()
        return Header(
            version=FORMAT_VERSION,
            run=self.run,
            segment=segment,
            host=socket.gethostname(),
            kernel=system.release,
            machine=system.machine,
            machine_id=machine_id(),
            boot=boot_id(),
            clock=clock,
            run_started_ns=self.started_ns,
            started_ns=time.time_ns(),
            ended_ns=None,
            netns=self.netns,
            names=self.names,
            netns_names=sample.netns_names,
            sysctls=sample.sysctls,
            counters=sample.counters,
            hooks=self.hooks,
            absent=self.absent,
            events=self.events,
            command=self.command,
            filters=self.filters,
            comparable=self.scope.comparable,
            netns_traced=None if self.scope.netns is None else tuple(sorted(self.scope.netns)),
            tw_at_birth=self.scope.tw_at_birth,
            hidden=dict(self.scope.hidden),
            max_connections=self.max_connections,
            listeners=sample.listeners,
            host_names=self.host_names,
            tracetw=__version__,
            signals={int(one): one.name for one in signal.Signals},
            errors=dict(errno.errorcode),
        )
