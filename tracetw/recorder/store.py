# SPDX-License-Identifier: Apache-2.0
"""The folder of a recorder: which segments it has, which to delete, which to keep for good."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tracetw.errors import BadInput, Failed, shortage
from tracetw.recorder.compact import TEMPORARY, clean, files_of, is_raw
from tracetw.recorder.folder import Folder, NotOurs
from tracetw.recording.reader import SUFFIX

_KEPT = "kept"
_SEALED = ".parquet"


class Place(NamedTuple):
    """A segment: the folders below DIR that lead to it, and the name of its ``.tws``."""

    folders: tuple[str, ...]
    name: str


@dataclass(slots=True)
class Stored:
    """A closed segment: where, when it ended, bytes with its Parquet files, hard links to it.

    ``ended_s`` is of CLOCK_BOOTTIME, which nobody sets: a wall clock that is set makes no segment
    old. What an earlier run left is as old as its modification time says, and never in the future.
    """

    place: Place
    ended_s: float
    bytes: int
    copies: list[Place] = field(default_factory=list)


class Store:
    """What lies below ``host=NAME`` in a folder.

    Args:
        folder: what the user named; made when it is not there.
        host: name of this host.
        max_bytes: to use at most, ``kept/`` not included, which may use as much again.
        max_age_s: a segment that ended before is dropped.

    Raises BadInput when the folder cannot be used, somebody else could write to it or to what is used
    below it, or another recorder uses it.
    """

    def __init__(self, folder: Path, host: str, *, max_bytes: int, max_age_s: float) -> None:
        self._home = f"host={host.replace('/', '_')}"
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._segments: list[Stored] = []
        try:
            self._root = Folder.reach(folder)
            self._lock = self._root.enter(self._home, make=True)
            free = self._lock.lock()
            if free:
                self._look_through()
        except NotOurs as error:
            raise BadInput(f"cannot record to {folder}: {error.strerror}", error.hint) from error
        except OSError as error:
            if (short := shortage(error)) is not None:
                raise Failed(*short) from error
            raise BadInput(
                f"cannot write to {folder}: {error.strerror}", "give a folder for -o"
            ) from error
        if not free:
            self.close()
            raise BadInput(
                f"another tracetw records to {folder}", "give each recorder a folder of its own"
            )

    def place(self, run: str, number: int, now_s: float) -> Place:
        """Where a new segment belongs that begins at a wall time, seconds since 1970."""
        moment = time.gmtime(now_s)
        hour = time.strftime("hour=%Y-%m-%dT%H", moment)
        stem = f"{time.strftime('%Y%m%dT%H%M%SZ', moment)}-{run[:8]}-{number:06d}"
        return Place((self._home, hour), f"{stem}{SUFFIX}")

    def enter(self, place: Place, *, make: bool = False) -> Folder:
        """The folder of a segment. Raises OSError."""
        return self._root.enter(*place.folders, make=make)

    def shown(self, place: Place) -> Path:
        """The path of a segment for messages."""
        return self._root.shown.joinpath(*place.folders, place.name)

    def raw(self) -> list[Place]:
        """Segments that nobody has compacted."""
        found = []
        for stored in self._segments:
            with suppress(OSError), self.enter(stored.place) as folder:
                if is_raw(folder, stored.place.name):
                    found.append(stored.place)
        return found

    def add(self, place: Place) -> None:
        """A segment was closed. Raises OSError."""
        with self.enter(place) as folder:
            self._segments.append(Stored(place, _now(), _bytes(folder, place.name)))

    def discard(self, place: Place) -> None:
        """Its folder goes as well if nothing is in it."""
        with suppress(OSError), self._root.enter(*place.folders[:-1]) as above:
            above.remove(place.folders[-1])

    def clean(self, place: Place) -> None:
        """Remove what an unfinished compaction left; note the size of the segment."""
        with suppress(OSError), self.enter(place) as folder:
            clean(folder, place.name)
            for stored in self._segments:
                if stored.place == place:
                    stored.bytes = _bytes(folder, place.name)

    def copies(self, place: Place) -> list[Place]:
        """Hard links to a segment."""
        return next((stored.copies for stored in self._segments if stored.place == place), [])

    def enforce(
        self, reserved: int, forget: Callable[[Place], None], say: Callable[[str], None]
    ) -> int:
        """Drop the oldest segments until ``reserved`` more bytes fit; returns how many.

        ``forget`` is called with each of them before. One that cannot be dropped stays where it is,
        and ``say`` takes a line about it.
        """
        dropped = 0
        used = reserved + sum(stored.bytes for stored in self._segments)
        for stored in list(self._segments):
            too_old = stored.ended_s < _now() - self._max_age_s
            if used <= self._max_bytes and not too_old:
                break
            used -= stored.bytes
            forget(stored.place)
            self._segments.remove(stored)
            try:
                with self.enter(stored.place) as folder:
                    self._drop(folder, stored.place)
            except OSError as error:
                say(f"cannot drop {self.shown(stored.place)}, it stays: {error.strerror}")
                continue
            dropped += 1
        return dropped

    def keep(self, reason: str, span_s: float, now_s: float) -> Path | None:
        """Link every segment that ended in the last ``span_s`` below ``kept/``; None: no room there.

        ``now_s`` is wall time, for the name. Raises OSError, having linked nothing.
        """
        wanted = [stored for stored in self._segments if stored.ended_s >= _now() - span_s]
        with self._root.enter(_KEPT, make=True) as kept:
            used = sum(status.st_size for _, _, status in _below(kept, ()))
        if used + sum(stored.bytes for stored in wanted) > self._max_bytes:
            return None
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in reason)
        above = (_KEPT, f"{moment}-{name}")
        made: list[tuple[Stored, Place]] = []
        try:
            for stored in wanted:
                copy = Place((*above, *stored.place.folders), stored.place.name)
                made.append((stored, copy))
                self._link(stored.place, copy)
        except OSError:
            for _, copy in made:
                with suppress(OSError):
                    self._unlink(copy)
            raise
        for stored, copy in made:
            stored.copies.append(copy)
        return self._root.shown.joinpath(*above)

    def free_bytes(self) -> int:
        """Room on the disk. Raises OSError."""
        return self._root.free_bytes()

    def close(self) -> None:
        """Let another recorder use it."""
        self._lock.close()
        self._root.close()

    def _look_through(self) -> None:
        """Everything that is there and will be used: is it ours? What did a crash leave?"""
        with self._root.enter(_KEPT, make=True) as kept:
            for folders, name, _ in _below(kept, (_KEPT,)):
                # kept/WHEN-WHY/host=NAME: other hosts may have theirs there.
                if name.endswith(TEMPORARY) and folders[2:3] == (self._home,):
                    with self._root.enter(*folders) as folder:
                        folder.unlink(name)
        found: list[tuple[float, Stored]] = []
        for hour in self._lock.folders():
            with self._lock.enter(hour) as folder:
                names = {name: status for name, status in folder.files()}  # noqa: C416
                segments = {name for name in names if name.endswith(SUFFIX)}
                belong = {file for name in segments for file in files_of(name)}
                # Not while a compaction goes on there whose recorder was killed.
                free = folder.lock()
                for name in names if free else ():
                    orphan = name.endswith(_SEALED) and name not in belong
                    if orphan or name.endswith(TEMPORARY):
                        folder.unlink(name)
                for name in segments:
                    if free:
                        clean(folder, name)
                    age = max(0.0, time.time() - names[name].st_mtime)
                    place = Place((self._home, hour), name)
                    stored = Stored(place, _now() - age, _bytes(folder, name))
                    found.append((names[name].st_mtime, stored))
            if not names:
                self._lock.remove(hour)
        self._segments = [stored for _, stored in sorted(found, key=lambda pair: pair[0])]

    def _link(self, place: Place, copy: Place) -> None:
        with self.enter(place) as folder, self.enter(copy, make=True) as other:
            for file in files_of(place.name):
                if folder.status(file) is not None:
                    with suppress(FileExistsError):
                        folder.link(file, other, file)

    def _unlink(self, copy: Place) -> None:
        with self.enter(copy) as folder:
            for file in files_of(copy.name):
                folder.unlink(file)
        for depth in range(len(copy.folders) - 1, 0, -1):
            with self._root.enter(*copy.folders[:depth]) as above:
                above.remove(copy.folders[depth])

    def _drop(self, folder: Folder, place: Place) -> None:
        # The .tws first: without it nobody asks for the others.
        for file in files_of(place.name):
            folder.unlink(file)
            folder.unlink(file + TEMPORARY)
        self.discard(place)


def _below(
    folder: Folder, folders: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str, os.stat_result]]:
    """Regular files below a folder: the folders that lead there, name, status."""
    for name, status in folder.files():
        yield folders, name, status
    for name in folder.folders():
        with folder.enter(name) as below:
            yield from _below(below, (*folders, name))


def _bytes(folder: Folder, name: str) -> int:
    found = (folder.status(file) for file in files_of(name))
    return sum(status.st_size for status in found if status is not None)


def _now() -> float:
    """Also while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
