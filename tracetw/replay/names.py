# SPDX-License-Identifier: Apache-2.0
"""What a recording knows of addresses and ports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from tracetw.host.listening import Listening
from tracetw.recording.reader import Recording
from tracetw.stream.batch import NewListeners
from tracetw.stream.known import Ask, Known, PortListener, port_key

_MOST = 1 << 18
"""Listeners of a recording, at most."""


def known_of(recording: Recording, ask: Ask | None = None) -> Known:
    """What is known before its first connection.

    A recording that does not tell who listened from which connection on has it in its samples: there a port is
    known by the one name that all its listeners bear.
    """
    known = Known(recording.header.host_names, ask=ask)
    if next(iter(recording.heard()), None) is None:
        known.tell(_by_port(one for _, one in listened(recording)))
    return known


def known_throughout(recording: Recording) -> Known:
    """What is known of all of it: of a port, if whoever listened on it bore one name."""
    known = Known(recording.header.host_names)
    told = (PortListener(one.netns, one.port, one.comm, one.cgroup) for _, one in recording.heard())
    known.tell(_by_port((*told, *(one for _, one in listened(recording)))))
    return known


def heard(recording: Recording) -> Iterator[tuple[int, NewListeners]]:
    """Who listened, each with its place among the connection ends."""
    for place, documents in groupby(recording.heard(), lambda each: each[0]):
        found = (PortListener(one.netns, one.port, one.comm, one.cgroup) for _, one in documents)
        yield place, NewListeners(tuple(found))


def listened(recording: Recording) -> Iterator[tuple[int, Listening]]:
    """Each listener of its samples once with the time of the first sample that has it, at most ``_MOST``."""
    seen: set[Listening] = set()
    moments = ((sample.time_ns, sample.listeners) for sample in recording.samples())
    before: tuple[Listening, ...] | None = None
    for time_ns, listeners in ((recording.header.started_ns, recording.header.listeners), *moments):
        if listeners is before:
            continue
        before = listeners
        for one in listeners:
            if one not in seen and len(seen) < _MOST:
                seen.add(one)
                yield time_ns, one


def _by_port(found: Iterable[Listening | PortListener]) -> Iterable[PortListener]:
    ports: dict[int, PortListener] = {}
    for one in found:
        if one.comm is None:
            continue
        key, new = (
            port_key(one.netns, one.port),
            PortListener(one.netns, one.port, one.comm, one.cgroup),
        )
        old = ports.setdefault(key, new)
        if old != new:
            comm = new.comm if old.comm == new.comm else None
            group = new.cgroup if comm and old.cgroup == new.cgroup else None
            ports[key] = PortListener(one.netns, one.port, comm, group)
    return ports.values()
