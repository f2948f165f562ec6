# SPDX-License-Identifier: Apache-2.0
"""Recordings from files: the same rows, in the same order, whatever became of the files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import BadInput
from tracetw.event.fields import end_ns
from tracetw.host.clock import Clock
from tracetw.recording.facts import Damage, Harm, Lost, Sample
from tracetw.recording.frame import Kind
from tracetw.recording.header import numbered
from tracetw.recording.segment import Segment, Unreadable

__all__ = ["SUFFIX", "Recording", "open_recordings", "rebatch"]

Rows = NDArray[np.void]

SUFFIX = ".tws"
# Rows are written this long after they happened, at most; what was lost then may be theirs.
_AROUND_NS = 1_000_000_000


class Recording:
    """One run of ``tracetw record``.

    Attributes:
        segments: those that are there, in order.
        header: of the first segment that is there, with the end of the last one.
        damage: every place where it is not whole.
    """

    def __init__(self, segments: Sequence[Segment], unreadable: Iterable[Damage] = ()) -> None:
        self.segments = tuple(segments)
        first, last = segments[0].header, segments[-1].header
        self.header = replace(first, ended_ns=last.ended_ns)
        self.damage = [damage for segment in segments for damage in segment.damage]
        self.damage += [*unreadable, *self._missing()]
        self._names: dict[str, dict[int, str]] | None = None
        self._lost: list[Lost] | None = None

    @property
    def clock(self) -> Clock:
        """For the times of rows."""
        return self.header.clock

    @property
    def compacted(self) -> bool:
        """Are rows in Parquet files, which take pyarrow to read?"""
        return any(segment.seals for segment in self.segments)

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows that can be read: ``closes`` and ``events``."""
        return {
            kind: sum(segment.rows[kind] for segment in self.segments)
            for kind in ("closes", "events")
        }

    def closes(self, batch: int = 1 << 16) -> Iterator[Rows]:
        """Connection ends, dtype ``CLOSE``, in the order of recording.

        Batches have ``batch`` rows, the last one has fewer. Raises CannotTrace when a segment is
        compacted and pyarrow is not installed.
        """
        return rebatch(self._rows("closes"), batch)

    def events(self, batch: int = 1 << 16) -> Iterator[Rows]:
        """Single events, dtype ``EVENT``; otherwise as :meth:`closes`."""
        return rebatch(self._rows("events"), batch)

    def samples(self) -> Iterator[Sample]:
        """Counters and settings over time, each sample whole."""
        for segment in self.segments:
            state: dict[str, dict[int, Any]] = {
                "counters": dict(segment.header.counters),
                "sysctls": dict(segment.header.sysctls),
                "netns_names": dict(segment.header.netns_names),
            }
            for _, values in segment.documents(Kind.SAMPLE):
                yield _sample(values, state)

    def losses(self) -> list[Lost]:
        """Records that happened and are not there, as far as the recorder knew."""
        if self._lost is None:
            self._lost = [
                Lost(**values)
                for segment in self.segments
                for _, values in segment.documents(Kind.LOST)
            ]
        return self._lost

    def lossy(self, rows: Rows) -> bool:
        """Were records lost around the time of these rows of ``CLOSE``?"""
        if not self.losses() or not len(rows):
            return False
        ends = end_ns(rows)
        ends = ends[ends >= 0]
        if not len(ends):
            return True
        first, last = self.clock.to_wall_ns(int(ends.min())), self.clock.to_wall_ns(int(ends.max()))
        return any(
            lost.since_ns <= last + _AROUND_NS and first - _AROUND_NS <= lost.until_ns
            for lost in self.losses()
        )

    def cgroup_path(self, identity: int) -> str | None:
        """Path of a control group as it was on the recorded host; None unknown."""
        return self._named("cgroups").get(identity)

    def user(self, uid: int) -> str | None:
        """Name of a user on the recorded host; None unknown."""
        return self._named("users").get(uid)

    def _named(self, what: str) -> dict[int, str]:
        if self._names is None:
            self._names = {"cgroups": {}, "users": {}}
            for segment in self.segments:
                for _, values in segment.documents(Kind.NAMES):
                    for name, known in self._names.items():
                        known.update(numbered(values.get(name, {})))
        return self._names[what]

    def _rows(self, kind: str) -> Iterator[Rows]:
        for segment in self.segments:
            try:
                yield from segment.batches(kind)
            except FileNotFoundError as error:
                path = Path(str(error.filename))
                self.damage.append(Damage(Harm.MISSING, path, 0, 0, 0, "deleted while it was read"))

    def _missing(self) -> Iterator[Damage]:
        """Segments that should be between those that are there."""
        closes = events = 0
        for before, after in zip(self.segments, self.segments[1:], strict=False):
            closes += before.rows["closes"]
            events += before.rows["events"]
            absent = range(before.number + 1, after.number)
            if absent:
                which = (
                    f"segment {absent[0]} is"
                    if len(absent) == 1
                    else (f"segments {absent[0]} to {absent[-1]} are")
                )
                reason = f"{which} not there, or cannot be read"
                yield Damage(Harm.MISSING, after.path, 0, closes, events, reason)


def open_recordings(paths: Iterable[str | Path]) -> list[Recording]:
    """Recordings found in folders and files, in the order of their start.

    Looks through every file once, without decoding rows. Raises BadInput when a path is not there,
    when nothing readable is found, or what was written by a newer tracetw.
    """
    named = [Path(path) for path in paths]
    found: dict[str, dict[int, Segment]] = {}
    unreadable: list[Damage] = []
    for path in dict.fromkeys(file for name in named for file in _files(name)):
        try:
            segment = Segment.open(path)
        except Unreadable as error:
            unreadable.append(error.damage)
            continue
        except FileNotFoundError:  # dropped by its recorder since we looked
            continue
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror}") from error
        twins = found.setdefault(segment.header.run, {})
        twin = twins.get(segment.number)
        if twin is None or _worth(segment) > _worth(twin):
            twins[segment.number] = segment
    if not found:
        if unreadable:
            raise BadInput(f"nothing can be read: {unreadable[0]}")
        where = ", ".join(map(str, named))
        raise BadInput(f"no recording in {where}", "give what tracetw record -o wrote to")
    recordings = []
    for run, segments in found.items():
        mine = [damage for damage in unreadable if run[:8] in damage.path.name]
        unreadable = [damage for damage in unreadable if damage not in mine]
        recordings.append(Recording([segments[number] for number in sorted(segments)], mine))
    recordings.sort(key=lambda recording: recording.header.started_ns)
    # A file that says neither by its name nor by its content whose it was.
    recordings[0].damage += unreadable
    return recordings


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.rglob(f"*{SUFFIX}"))
    if path.exists():
        return [path]
    raise BadInput(f"{path} does not exist", "give a folder or a segment of tracetw record")


def _worth(segment: Segment) -> tuple[int, int]:
    """The same segment twice: the one that tells more."""
    return sum(segment.rows.values()), -len(segment.damage)


def rebatch(pieces: Iterator[Rows], batch: int) -> Iterator[Rows]:
    """The same rows in pieces of one size."""
    held: list[Rows] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count < batch:
            continue
        rows = held[0] if len(held) == 1 else np.concatenate(held)
        whole = count - count % batch
        for first in range(0, whole, batch):
            yield rows[first : first + batch]
        held, count = ([rows[whole:]] if count > whole else []), count - whole
    if count:
        yield held[0] if len(held) == 1 else np.concatenate(held)


def _sample(values: Mapping[str, Any], state: dict[str, dict[int, Any]]) -> Sample:
    """A sample is written as what changed in ``state``."""
    for name, known in state.items():
        known.update(numbered(values[name]))
        for inode in values["gone"]:
            known.pop(inode, None)
    return Sample(
        moment=values["moment"],
        time_ns=values["time_ns"],
        clock=Clock(*values["clock"]),
        counters=dict(state["counters"]),
        sysctls=dict(state["sysctls"]),
        netns_names=dict(state["netns_names"]),
        stats=values["stats"],
        unfinished=values["unfinished"],
    )
