# SPDX-License-Identifier: Apache-2.0
"""Recordings from files: the same rows, in the same order, whatever became of the files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import BadInput
from tracetw.event.fields import Rows
from tracetw.host.clock import Clock
from tracetw.recording.facts import Damage, Harm, Lost, Sample
from tracetw.recording.files import TooMany, below
from tracetw.recording.hosts import host_names
from tracetw.recording.progress import observer
from tracetw.recording.schema import HeardDocument, LostDocument, NamesDocument, SampleDocument
from tracetw.recording.segment import KINDS, Segment, Unreadable
from tracetw.recording.state import SegmentState
from tracetw.text import visible

SUFFIX = ".tws"
# CLOCK_MONOTONIC in rows.
_TIMES = frozenset({"at", "born"})
_MOST_RECORDINGS = 1000
# Of all headers that are held at once, as JSON: in memory it is up to 25 times as much.
_HEADERS_BYTES = 16 << 20
# Of all names of a recording, with what Python needs for each besides its text.
_NAMES_BYTES = 128 << 20
_NAME_BYTES = 200
_MOST_NAMED = 100


class Recording:
    """One run of ``tracetw record``.

    Attributes:
        segments: those that are there, in order.
        header: of the first segment that is there, with the end of the last one, ``clock`` as below
            and a ``host`` that is not that of another host read with it (:mod:`.hosts`).
        damage: every place where it is not whole.
        clock_set_ns: by how much the clock of the host was set, from the first segment that is there
            to the last one; 0 if it was not.
    """

    clock_set_ns = 0

    def __init__(self, segments: Sequence[Segment], unreadable: Iterable[Damage] = ()) -> None:
        self.segments = tuple(segments)
        first, last = segments[0].full_header(), segments[-1].header
        self.header = replace(first, ended_ns=last.ended_ns, clock=_earliest(segments))
        if last.clock.set_since(first.clock):
            self.clock_set_ns = last.clock.offset_ns - first.clock.offset_ns
        self.damage = [damage for segment in segments for damage in segment.damage]
        self.damage += [*unreadable, *self._missing()]
        self._names: dict[str, dict[int, str]] | None = None
        self._lost: list[Lost] | None = None

    _moments: dict[str, Sample] | None = None

    @property
    def clock(self) -> Clock:
        """For the times of all rows, whatever segment they come from.

        When the clock of the host was set, the recorder began a new segment. Rows of segments under
        another wall clock come moved by the difference, so that this clock gives the wall time that
        ``trace`` showed. It is the clock with the earliest wall time: no row moves below 0.
        """
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

    def closes_at(self, places: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Rows]]:
        """Some connection ends, by their places in the order of recording, and these places.

        ``places`` are sorted. Only the segments that hold them are read.
        """
        first = 0
        for segment in self.segments:
            count = segment.rows["closes"]
            low, high = np.searchsorted(places, (first, first + count))
            if low < high:
                yield from _picked(self._rows("closes", (segment,)), places[low:high], first)
            first += count

    def events(self, batch: int = 1 << 16) -> Iterator[Rows]:
        """Single events, dtype ``EVENT``; otherwise as :meth:`closes`."""
        return rebatch(self._rows("events"), batch)

    def samples(self) -> Iterator[Sample]:
        """Counters and settings over time, each sample whole."""
        for segment in self.segments:
            state = SegmentState(segment.full_header())
            for document in segment.documents(SampleDocument):
                sample = state.after(document)
                if sample is None:
                    self._damaged(segment, "its samples hold too many values")
                    break
                yield sample

    def moments(self) -> Mapping[str, Sample]:
        """The latest sample of each moment. They are decoded once."""
        if self._moments is None:
            self._moments = {sample.moment: sample for sample in self.samples()}
        return self._moments

    def losses(self) -> list[Lost]:
        """Records that happened and are not there, as far as the recorder knew."""
        if self._lost is None:
            self._lost = []
            before = 0
            for segment in self.segments:
                for one in segment.documents(LostDocument):
                    place = None if one.closes is None else before + one.closes
                    self._lost.append(
                        Lost(one.records, one.where, one.since_ns, one.until_ns, place)
                    )
                before += segment.rows["closes"]
        return self._lost

    def heard(self) -> Iterator[tuple[int, HeardDocument]]:
        """Who listened on a port from a place among the connection ends on, in the order of these."""
        before, room = 0, _NAMES_BYTES
        for segment in self.segments:
            for document in segment.documents(NamesDocument):
                room -= sum(
                    _NAME_BYTES + len(one.comm or "") + len(one.cgroup or "")
                    for one in document.heard
                )
                if room < 0:
                    self._damaged(segment, "too many listeners: those that follow are not used")
                    return
                for one in document.heard:
                    yield before + document.closes, one
            before += segment.rows["closes"]

    def cgroup_path(self, identity: int) -> str | None:
        """Path of a control group as it was on the recorded host; None unknown."""
        return self._named("cgroups").get(identity)

    def user(self, uid: int) -> str | None:
        """Name of a user on the recorded host; None unknown."""
        return self._named("users").get(uid)

    def _named(self, what: str) -> dict[int, str]:
        if self._names is None:
            self._names = {"cgroups": {}, "users": {}}
            room = _NAMES_BYTES
            for segment, document in self._documents_of_names():
                for known, found in (
                    (self._names["cgroups"], document.cgroups),
                    (self._names["users"], document.users),
                ):
                    room -= sum(_NAME_BYTES + len(found[key]) for key in found.keys() - known)
                    known.update(found)
                if room < 0:
                    self._damaged(segment, "too many names: those that follow are not used")
                    break
        return self._names[what]

    def _documents_of_names(self) -> Iterator[tuple[Segment, NamesDocument]]:
        for segment in self.segments:
            for document in segment.documents(NamesDocument):
                yield segment, document

    def _rows(self, kind: str, segments: Iterable[Segment] | None = None) -> Iterator[Rows]:
        for segment in self.segments if segments is None else segments:
            try:
                for rows in segment.batches(kind):
                    observer().read(rows.nbytes)
                    yield _moved(rows, segment.header.clock, self.clock)
            except FileNotFoundError as error:
                path = Path(str(error.filename))
                self._add(Damage(Harm.MISSING, path, 0, 0, 0, "deleted while it was read"))
            except Unreadable as error:
                self._add(error.damage)

    def _damaged(self, segment: Segment, reason: str) -> None:
        rows = segment.rows
        self._add(Damage(Harm.DAMAGED, segment.path, 0, rows["closes"], rows["events"], reason))

    def _add(self, damage: Damage) -> None:
        """A recording is read more than once."""
        if damage not in self.damage:
            self.damage.append(damage)

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
    or when nothing readable is found.
    """
    named = [Path(path) for path in paths]
    unreadable = _Unreadable()
    found = _segments(named, unreadable)
    if len(found) > _MOST_RECORDINGS:
        raise BadInput(f"more than {_MOST_RECORDINGS:,} recordings at once", "give fewer of them")
    firsts = [segments[min(segments)] for segments in found.values()]
    if sum(segment.frames[0].length for segment in firsts) > _HEADERS_BYTES:
        raise BadInput(f"the headers of {len(found):,} recordings are too large", "give fewer")
    if not found and unreadable.damage:
        raise BadInput(f"nothing can be read: {unreadable.damage[0]}")
    recordings: list[Recording] = []
    for (run, _), segments in found.items():
        mine = unreadable.take(run)
        recordings += _recording([segments[number] for number in sorted(segments)], mine)
    if not recordings:
        where = ", ".join(visible(str(name)) for name in named)
        raise BadInput(f"no recording in {where}", "give what tracetw record -o wrote to")
    recordings.sort(key=lambda recording: recording.header.started_ns)
    names = host_names([recording.header for recording in recordings])
    for recording, name in zip(recordings, names, strict=True):
        recording.header = replace(recording.header, host=name)
    # A file that says neither by its name nor by its content whose it was.
    recordings[0].damage += unreadable.rest()
    sizes = {kind: dtype.itemsize for kind, (_, dtype) in KINDS.items()}
    observer().found(
        sum(count * sizes[kind] for one in recordings for kind, count in one.counts.items())
    )
    return recordings


def _segments(
    named: Sequence[Path], unreadable: _Unreadable
) -> dict[tuple[str, str], dict[int, Segment]]:
    """By run and number; of the same segment in several places the one that tells most.

    The boot belongs to the run: a recording that claims the run of another one is still another.
    """
    found: dict[tuple[str, str], dict[int, Segment]] = {}
    files = [*dict.fromkeys(file for name in named for file in _files(name, unreadable))]
    for number, path in enumerate(files):
        observer().opened(number, len(files))
        try:
            segment = Segment.open(path)
        except Unreadable as error:
            unreadable.add(error.damage)
            continue
        except FileNotFoundError:  # dropped by its recorder since we looked
            continue
        except OSError as error:
            raise BadInput(f"cannot read {visible(str(path))}: {error.strerror}") from error
        twins = found.setdefault((segment.header.run, segment.header.boot), {})
        twin = twins.get(segment.number)
        if twin is None or _worth(segment) > _worth(twin):
            twins[segment.number] = segment
    return found


def _recording(segments: list[Segment], unreadable: list[Damage]) -> Iterator[Recording]:
    """Of the segments that are still there: its recorder may be dropping the first ones."""
    for first in range(len(segments)):
        with suppress(FileNotFoundError):
            yield Recording(segments[first:], unreadable)
            return


class _Unreadable:
    """Files that are none of a recording. Of many a few are named, and all are counted."""

    def __init__(self) -> None:
        self.damage: list[Damage] = []
        self._more = 0

    def add(self, damage: Damage) -> None:
        if len(self.damage) < _MOST_NAMED:
            self.damage.append(damage)
        else:
            self._more += 1

    def take(self, run: str) -> list[Damage]:
        """Those whose name says that they are of this recording."""
        mine = [damage for damage in self.damage if run[:8] in damage.path.name]
        self.damage = [damage for damage in self.damage if damage not in mine]
        return mine

    def rest(self) -> list[Damage]:
        """The others."""
        if not self._more:
            return self.damage
        last = self.damage[-1]
        reason = f"{last.reason}; {self._more:,} more files cannot be read"
        return [*self.damage[:-1], replace(last, reason=reason)]


def _files(path: Path, unreadable: _Unreadable) -> list[Path]:
    try:
        if path.is_dir():
            files, passed = below(path, SUFFIX)
            for folder, reason in passed:
                unreadable.add(Damage(Harm.MISSING, folder, 0, 0, 0, reason))
            return files
        if path.exists():
            return [path.resolve() if path.is_symlink() else path]
    except TooMany as error:
        raise BadInput(f"{visible(str(path))}: {error}", "give a smaller part of it") from error
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"cannot read {visible(str(path))}: {reason}") from error
    raise BadInput(
        f"{visible(str(path))} does not exist", "give a folder or a segment of tracetw record"
    )


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


def _picked(
    pieces: Iterable[Rows], places: NDArray[np.int64], first: int
) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    """Of rows that begin at place ``first``, those at sorted ``places``."""
    for rows in pieces:
        low, high = np.searchsorted(places, (first, first + len(rows)))
        if low < high:
            yield places[low:high], rows[places[low:high] - first]
        first += len(rows)


def _earliest(segments: Iterable[Segment]) -> Clock:
    """Of the clocks of segments, the one that gives the earliest wall times."""
    return min((segment.header.clock for segment in segments), key=lambda clock: clock.offset_ns)


def _moved(rows: Rows, clock: Clock, to: Clock) -> Rows:
    """Rows of ``clock``, with times that ``to`` turns into the same wall times. 0 is unknown."""
    if not clock.set_since(to):
        return rows
    rows = rows.copy()
    step = np.uint64(clock.offset_ns - to.offset_ns)
    for name in _TIMES & {*(rows.dtype.names or ())}:
        rows[name] = np.where(rows[name] == 0, 0, rows[name] + step)
    return rows
