# SPDX-License-Identifier: Apache-2.0
"""The kernel's own numbers at one moment, of every network namespace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tracetw.event.record import Stat
from tracetw.host import counters, netns, sysctl
from tracetw.host.bound import Bound, Holders, bound
from tracetw.host.clock import Clock
from tracetw.host.counters import Snapshot
from tracetw.recording.facts import ListenerEnd, Sample

_SOCKSTAT = Path("/proc/thread-self/net/sockstat")
_GAUGES = ("tw", "orphan")
_CLOCK_READINGS = 4


def take(
    moment: str,
    stats: Mapping[Stat, int] | None = None,
    *,
    snapshot: Snapshot | None = None,
    listeners: Holders | None = None,
    unfinished: int = 0,
    time_ns: int | None = None,
    ended: tuple[ListenerEnd, ...] = (),
) -> Sample:
    """Read everything now; ``snapshot`` and ``time_ns`` are of the moment that counts, if another.

    ``listeners`` looks up who holds them; without it they are not recorded.
    Takes some milliseconds, more with many namespaces. A namespace that cannot be read is absent.
    """
    namespaces = netns.find()
    read = counters.snapshot() if snapshot is None else snapshot
    seen = netns.visit(namespaces.values(), _inside)
    return Sample(
        moment=moment,
        time_ns=time.time_ns() if time_ns is None else time_ns,
        clock=Clock.now(_CLOCK_READINGS),
        counters={
            inode: {**values, **seen[inode][0]} if inode in seen else values
            for inode, values in read.items()
        },
        sysctls={inode: each[1] for inode, each in seen.items()},
        netns_names={inode: each.name for inode, each in namespaces.items() if each.name},
        stats={stat.name: int(value) for stat, value in (stats or {}).items()},
        unfinished=unfinished,
        ended=ended,
        listeners=()
        if listeners is None
        else listeners.of({inode: each[2] for inode, each in seen.items()}),
    )


def _inside() -> tuple[dict[str, int], dict[str, int], list[Bound]]:
    """Gauges, settings and listeners of the namespace that this thread is in."""
    settings = {name: value for name, value in sysctl.read().items() if name not in _GAUGES}
    gauges = {}
    for line in _SOCKSTAT.read_text(encoding="ascii").splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            found = dict(zip(words[1::2], words[2::2], strict=False))
            gauges = {name: int(found[name]) for name in _GAUGES if name in found}
    return gauges, settings, bound()
