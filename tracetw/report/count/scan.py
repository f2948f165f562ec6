# SPDX-License-Identifier: Apache-2.0
"""One pass over the recordings: everything that a report counts, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import Drop, EventKind
from tracetw.host.cgroup import container
from tracetw.recording.reader import Recording
from tracetw.replay.source import context_of, judged
from tracetw.replay.window import Window
from tracetw.report.count.cube import Cube
from tracetw.report.count.histograms import Histograms
from tracetw.report.count.keys import CELL, OTHERS, PULSE, SECOND, TICK, addresses, cell_keys, fill
from tracetw.report.count.samples import Kept
from tracetw.report.count.served import Served
from tracetw.report.count.slots import Slots
from tracetw.report.count.time_wait import Waits
from tracetw.report.count.wrong import ABNORMAL, Wrong, wrong
from tracetw.stream.batch import Closes, Events
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages

_LOCAL = np.dtype([("hi", "<u8"), ("lo", "<u8"), ("netns", "<u4"), ("source", "<u4")])
_FULL = np.dtype(
    [("netns", "<u4"), ("slot", "<u4"), ("port", "<u2"), ("source", "<u2"), ("pad", "<u4")]
)
_CELLS, _PULSES, _TICKS, _LOCALS = 400_000, 400_000, 50_000, 100_000
_KEPT_APART = 20_000
_KINDS = frozenset({"timewait", "drop"})
_ORDINARY = 64


def _forget_processes(cells: NDArray[Any]) -> None:
    cells["pid"] = cells["netns"] = 0


def _forget_groups(cells: NDArray[Any]) -> None:
    cells["cgroup"] = 0
    _others(cells, cells["comm"], {"comm": b"others"})


def _forget_ports(cells: NDArray[Any]) -> None:
    _others(cells, cells["port"], {"port": 0})


def _forget_peers(cells: NDArray[Any]) -> None:
    both = cells["peer_hi"] ^ cells["peer_lo"] << np.uint64(1)
    _others(cells, both, {"peer_hi": OTHERS, "peer_lo": OTHERS})


def _others(cells: NDArray[Any], column: NDArray[Any], become: Mapping[str, object]) -> None:
    """All values but those with most connections become one."""
    values, which = np.unique(column, return_inverse=True)
    weight = np.bincount(which, weights=cells["count"], minlength=len(values))
    keep = min(_KEPT_APART, len(values) // 2)
    small = np.ones(len(values), np.bool_)
    small[np.argsort(weight)[len(values) - keep :]] = False
    for name, other in become.items():
        cells[name][small[which]] = other


def _forget_locals(cells: NDArray[Any]) -> None:
    cells["hi"][_LOCALS // 2 :] = OTHERS
    cells["lo"][_LOCALS // 2 :] = OTHERS
    cells["netns"] = 0


_FORGET = (_forget_processes, _forget_ports, _forget_peers, _forget_groups)


@dataclass(slots=True)
class ScannedRecording:
    """What is known of one recording after the pass.

    Attributes:
        recording: it.
        stages: which it went through, with the tally and how many connections it has.
        first_ns, last_ns: wall times of the first and the last connection end chosen; 0: none.
    """

    recording: Recording
    stages: Stages
    first_ns: int = 0
    last_ns: int = 0


def source_of(recording: Recording, wanted: Filter = Filter()) -> ScannedRecording:  # noqa: B008 (frozen)
    """A recording with the stages that it is to go through."""
    return ScannedRecording(recording, Stages(context_of(recording), wanted, kinds=_KINDS))


@dataclass(slots=True)
class Scan:
    """The counts: cells of the dtypes in ``keys``, each with count, first, last and heard."""

    sources: list[ScannedRecording]
    kept: Kept = field(init=False)
    tick_slots: Slots = field(default_factory=lambda: Slots(SECOND))
    full_slots: Slots = field(default_factory=lambda: Slots(SECOND))
    pulse_slots: Slots = field(init=False)
    waits: Waits = field(default_factory=Waits)
    histograms: Histograms = field(default_factory=Histograms)
    total: int = 0
    ticks: Cube = field(init=False)
    cells: Cube = field(init=False)
    pulses: Cube = field(init=False)
    locals: Cube = field(init=False)
    full: Cube = field(init=False)
    served: Served = field(default_factory=Served)

    def __post_init__(self) -> None:
        self.ticks = Cube(TICK, _TICKS, [self.tick_slots.coarsen])
        self.cells = Cube(CELL, _CELLS, _FORGET)
        self.locals = Cube(_LOCAL, _LOCALS, [_forget_locals])
        self.full = Cube(_FULL, _TICKS, [self.full_slots.coarsen])
        self.start_over()

    def start_over(self) -> None:
        """Forget what went wrong: it is to be counted again, with both ends of a connection as one."""
        self.pulse_slots = Slots(SECOND)
        coarsen = [self.pulse_slots.coarsen] * 6
        self.pulses = Cube(
            PULSE, _PULSES, [*coarsen, *_FORGET, self.pulse_slots.coarsen], once=len(coarsen)
        )
        self.kept = Kept()

    @property
    def hosts(self) -> list[str]:
        """Name of the host of each source."""
        return [source.recording.header.host for source in self.sources]

    def container(self, source: int, cgroup: int) -> str | None:
        """Container of a control group of a source, else its path; None unknown."""
        path = self.sources[source].recording.cgroup_path(cgroup) if cgroup else None
        return container(path) or path

    def add(self, number: int, part: Closes) -> None:
        """Count a batch of recording ``number``."""
        source = self.sources[number]
        rows, findings, at = part.rows, part.findings, part.at
        self.total += len(rows)
        first, last = int(at.min()), int(at.max())
        source.first_ns = min(source.first_ns or first, first)
        source.last_ns = max(source.last_ns, last)
        keys = cell_keys(rows, findings, number)
        self.cells.add(keys, at)
        self.ticks.add(fill(TICK, keys, slot=self.tick_slots.of(at)), at)
        self.waits.add(rows, findings, keys, at)
        self.histograms.add(part, source.recording.header.names)
        here = fill(_LOCAL, keys)
        here["hi"], here["lo"] = addresses(rows, "laddr")
        self.locals.add(here, at)

        self.served.add(part, keys)
        self.add_wrong(rows, self.wrong(number, part, keys))
        if self.total <= 2 * len(rows):  # a few ordinary ones, to compare with
            some = np.flatnonzero(~ABNORMAL[findings.verdict][:4096])[:_ORDINARY]
            self.kept.add(rows[some], fill(PULSE, keys[some]), at[some])

    def move(self, ahead: NDArray[np.int64]) -> None:
        """All times by the clock of the first recording; ``ahead`` says how far the others' are ahead of it."""
        self.ticks.move(ahead, self.tick_slots)
        self.pulses.move(ahead, self.pulse_slots)
        self.served.cube.move(ahead, self.served.slots)
        self.cells.move(ahead)
        self.full.move(ahead, self.full_slots)

    def wrong(self, number: int, part: Closes, keys: NDArray[Any]) -> Wrong:
        """What of a batch of recording ``number`` went wrong."""
        names = self.sources[number].recording.header.names
        return wrong(part, keys, self.pulse_slots, names)

    def add_wrong(self, rows: NDArray[Any], found: Wrong) -> None:
        """Count what went wrong with ``rows``, of all of which ``found`` has the places."""
        self.pulses.add(found.keys, found.at, found.heard)
        self.kept.add(rows[found.which], found.keys, found.at)

    def add_events(self, number: int, events: Events, window: Window) -> None:
        """Count the single events of recording ``number`` that say whose accept queue was full."""
        rows = events.rows
        at = events.clock.to_wall_ns(rows["at"].astype(np.int64))
        keep = window.mask(at) & (rows["kind"] == EventKind.DROP)
        keep &= rows["code"] == Drop.ACCEPT_QUEUE_FULL
        self.full.add(
            fill(
                _FULL,
                rows[keep],
                source=number,
                port=rows["lport"][keep],
                slot=self.full_slots.of(at[keep]),
            ),
            at[keep],
        )


def scan(recordings: Sequence[Recording], wanted: Filter, window: Window) -> Scan:
    """Read all recordings once, batch by batch."""
    result = Scan([source_of(one, wanted) for one in recordings])
    for number, source in enumerate(result.sources):
        for part in judged(source.recording, source.stages, window):
            result.add(number, part)
        for rows in source.recording.events():
            events = source.stages.events(Events(rows, source.recording.clock))
            result.add_events(number, events, window)
    return result
