# SPDX-License-Identifier: Apache-2.0
"""A recording as the batches that the live trace gave to its sink, in the same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows
from tracetw.reconcile.reading import Reading
from tracetw.reconcile.scope import Scope
from tracetw.recording.facts import Lost
from tracetw.recording.reader import Recording
from tracetw.replay.names import heard, known_of
from tracetw.replay.reconciled import reading
from tracetw.replay.window import ALWAYS, Window
from tracetw.stream.batch import Closes, Context, Ends, Loss, NewListeners, ended_ns
from tracetw.stream.known import Ask
from tracetw.stream.stages import Stages

BATCH = 1 << 17
"""Rows at a time: large enough for arrays, small enough for the cache and for memory."""


def context_of(recording: Recording, ask: Ask | None = None) -> Context:
    """What stays the same in it; ``ask`` for names that it does not have."""
    header = recording.header
    netns = None if header.netns_traced is None else frozenset(header.netns_traced)
    return Context(
        host=header.host,
        netns=header.netns,
        names=header.names,
        cgroup_path=recording.cgroup_path,
        netns_name=_netns_name(recording),
        clock=recording.clock,
        started_ns=header.run_started_ns,
        attached=reading(recording, "attached") or Reading(),
        scope=Scope(header.comparable, netns, header.tw_at_birth, header.hidden),
        hooks=header.hooks,
        absent=header.absent,
        known=known_of(recording, ask),
    )


def _netns_name(recording: Recording) -> Callable[[int], str | None]:
    names: dict[int, str] | None = None

    def name(inode: int) -> str | None:
        nonlocal names
        if names is None:  # not every sink asks
            names = _netns_names(recording)
        return names.get(inode)

    return name


def _netns_names(recording: Recording) -> dict[int, str]:
    """Namespaces that kept one name; the kernel uses their inodes again."""
    seen = [segment.header.netns_names for segment in recording.segments]
    seen += [sample.netns_names for sample in recording.samples()]
    names: dict[int, set[str]] = {}
    for each in seen:
        for inode, name in each.items():
            names.setdefault(inode, set()).add(name)
    return {inode: name for inode, (name, *others) in names.items() if not others}


def ends(recording: Recording, batch: int = BATCH) -> Iterator[Ends | Loss | NewListeners]:
    """Its connection ends in the order of recording; each loss, and who listened, where it stood among them."""
    losses = deque(sorted(recording.losses(), key=lambda one: one.since_ns))
    listeners = deque(heard(recording))
    passed = 0
    for rows in recording.closes(batch):
        at = recording.clock.to_wall_ns(ended_ns(rows))
        done = 0
        while (found := _next(losses, listeners, at, passed)) is not None:
            place, one = found
            yield from _ends(recording, rows[done:place])
            yield one
            done = max(done, place)
        yield from _ends(recording, rows[done:])
        passed += len(rows)
    yield from map(_loss, losses)


def _next(
    losses: deque[Lost],
    listeners: deque[tuple[int, NewListeners]],
    at: NDArray[np.int64],
    passed: int,
) -> tuple[int, Loss | NewListeners] | None:
    """What comes next of both, taken, if it stands before any of these ends, and before which."""
    lost = _place(losses[0], at, passed) if losses else None
    told = listeners[0][0] - passed if listeners else len(at)
    if told < len(at) and (lost is None or told <= lost):
        return max(told, 0), listeners.popleft()[1]
    return None if lost is None else (lost, _loss(losses.popleft()))


def _place(lost: Lost, at: NDArray[np.int64], passed: int) -> int | None:
    """Before which of the ends it stands, if before any of these.

    An older recording does not say where: before the first one that it weakens, then.
    """
    if lost.closes is not None:
        place = max(lost.closes - passed, 0)
        return place if place < len(at) else None
    later = np.flatnonzero(at > lost.since_ns)
    return int(later[0]) if len(later) else None


def _loss(lost: Lost) -> Loss:
    return Loss(lost.records, lost.where, lost.since_ns, lost.until_ns)


def _ends(recording: Recording, rows: Rows) -> Iterator[Ends]:
    if len(rows):
        yield Ends(rows, recording.clock)


def end_of_trace(recording: Recording, stages: Stages) -> None:
    """When the hooks were about to be detached, for the tally."""
    ended = reading(recording, "ended")
    if ended is not None:
        stages.tally.until_ns = ended.at_ns


def judged(
    recording: Recording, stages: Stages, window: Window = ALWAYS, batch: int = BATCH
) -> Iterator[Closes]:
    """The connections of a recording that its stages want.

    Args:
        recording: where from.
        stages: of this recording.
        window: the time in which they ended.
        batch: rows at a time, at most.
    """
    end_of_trace(recording, stages)
    for one in ends(recording, batch):
        if isinstance(one, Loss):
            stages.loss(one)
            continue
        if isinstance(one, NewListeners):
            stages.feed(one)
            continue
        closes = stages.judge(one)
        inside = window.mask(closes.at)
        closes = stages.wanted(closes if inside.all() else closes.take(inside))
        if len(closes.rows):
            yield closes
