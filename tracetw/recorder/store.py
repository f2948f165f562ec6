# SPDX-License-Identifier: Apache-2.0
"""The folder of a recorder: which segments it has, which must go, which are kept for good."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tracetw.errors import BadInput
from tracetw.recorder.compact import TEMPORARY
from tracetw.recording.reader import SUFFIX

__all__ = ["Store", "Stored"]

_KEPT = "kept"


@dataclass(slots=True)
class Stored:
    """A closed segment: its ``.tws``, bytes with its Parquet files, and hard links to it."""

    path: Path
    ended_s: float
    bytes: int
    copies: list[Path] = field(default_factory=list)


class Store:
    """What lies below ``host=NAME`` in a folder.

    Args:
        folder: what the user named; made when it is not there.
        host: name of this host.
        max_bytes: to use at most, ``kept/`` not included, which may use as much again.
        max_age_s: a segment that ended before is dropped.

    Raises BadInput when the folder cannot be used, or another recorder uses it.
    """

    def __init__(self, folder: Path, host: str, *, max_bytes: int, max_age_s: float) -> None:
        self._home = folder / f"host={host.replace('/', '_')}"
        self._kept = folder / _KEPT
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            self._kept.mkdir(exist_ok=True)
            self._lock = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"another tracetw records to {folder}", "give each recorder a folder of its own"
            ) from None
        except OSError as error:
            raise BadInput(
                f"cannot write to {folder}: {error.strerror}", "give a folder for -o"
            ) from error
        for leftover in self._home.rglob(f"*{TEMPORARY}"):
            leftover.unlink(missing_ok=True)
        self._segments = sorted(
            (self._stored(path) for path in self._home.rglob(f"*{SUFFIX}")),
            key=lambda stored: stored.ended_s,
        )

    def path(self, run: str, number: int, now_s: float) -> Path:
        """Where a new segment belongs."""
        moment = time.gmtime(now_s)
        hour = time.strftime("hour=%Y-%m-%dT%H", moment)
        stem = f"{time.strftime('%Y%m%dT%H%M%SZ', moment)}-{run[:8]}-{number:06d}"
        return self._home / hour / f"{stem}{SUFFIX}"

    def raw(self) -> list[Path]:
        """Segments that look as if nobody has compacted them."""
        return [
            stored.path
            for stored in self._segments
            if not any(stored.path.parent.glob(f"{stored.path.stem}.*.parquet"))
        ]

    def add(self, path: Path) -> None:
        """A segment was closed."""
        self._segments.append(self._stored(path))

    def compacted(self, path: Path) -> None:
        """A segment changed its size."""
        for stored in self._segments:
            if stored.path == path:
                stored.bytes = _bytes(path)

    def copies(self, path: Path) -> list[Path]:
        """Hard links to a segment."""
        return next((stored.copies for stored in self._segments if stored.path == path), [])

    def enforce(self, reserved: int, now_s: float, forget: Callable[[Path], None]) -> int:
        """Drop the oldest segments until ``reserved`` more bytes fit; returns how many.

        ``forget`` is called with each of them before.
        """
        dropped = 0
        used = reserved + sum(stored.bytes for stored in self._segments)
        for stored in list(self._segments):
            too_old = stored.ended_s < now_s - self._max_age_s
            if used <= self._max_bytes and not too_old:
                break
            used -= stored.bytes
            forget(stored.path)
            self._drop(stored)
            dropped += 1
        return dropped

    def keep(self, reason: str, since_s: float, now_s: float) -> Path | None:
        """Link every segment that ended after ``since_s`` below ``kept/``; None: no room there."""
        wanted = [stored for stored in self._segments if stored.ended_s >= since_s]
        used = sum(file.stat().st_size for file in self._kept.rglob("*") if file.is_file())
        if used + sum(stored.bytes for stored in wanted) > self._max_bytes:
            return None
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in reason)
        folder = self._kept / f"{moment}-{name}"
        for stored in wanted:
            place = folder / stored.path.relative_to(self._home.parent).parent
            place.mkdir(parents=True, exist_ok=True)
            for file in _files(stored.path):
                with suppress(FileExistsError):
                    os.link(file, place / file.name)
            stored.copies.append(place / stored.path.name)
        return folder

    def free_bytes(self) -> int:
        """Room on the disk. Raises OSError."""
        status = os.statvfs(self._home)
        return status.f_bavail * status.f_frsize

    def _stored(self, path: Path) -> Stored:
        return Stored(path, path.stat().st_mtime, _bytes(path))

    def _drop(self, stored: Stored) -> None:
        self._segments.remove(stored)
        # The .tws first: without it nobody asks for the others.
        stored.path.unlink(missing_ok=True)
        for file in stored.path.parent.glob(f"{stored.path.stem}.*"):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # more of that hour
            stored.path.parent.rmdir()


def _files(path: Path) -> Iterator[Path]:
    """A segment's files, the ``.tws`` first."""
    yield path
    yield from path.parent.glob(f"{path.stem}.*.parquet")


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path) if file.exists())
