# SPDX-License-Identifier: Apache-2.0
"""One segment: what it holds, as far as it is whole."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import BadInput, Failed
from tracetw.event.record import CLOSE, EVENT
from tracetw.recording import parquet
from tracetw.recording.convert import FORMAT_VERSION, header_to_current, rows_to_current
from tracetw.recording.facts import Damage, Harm
from tracetw.recording.frame import Broken, Frame, Kind, payload, scan
from tracetw.recording.header import Header

__all__ = ["KINDS", "Segment", "Unreadable", "dtypes_to_json"]

Rows = NDArray[np.void]

KINDS: Mapping[str, tuple[Kind, np.dtype[np.void]]] = {
    "closes": (Kind.CLOSES, CLOSE),
    "events": (Kind.EVENTS, EVENT),
}


_CUT = "it ends without its last frame: its recorder was killed, or it was cut off there"


class Unreadable(Exception):
    """Not even the header of a segment can be read; ``damage`` says why."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(str(damage))
        self.damage = damage


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that was looked through once; every checksum of what it gives held.

    Attributes:
        path: its ``.tws`` file.
        inode: of that file: another one means that it was compacted since.
        header: of the current version, with ``version`` as written and the end.
        dtypes: of its rows, as written.
        frames: the whole ones, in order.
        seals: Parquet files with the number of their whole parts.
        finished: it has its last frame.
        rows: how many can be read, by kind.
        damage: what is not whole.
    """

    path: Path
    inode: int
    header: Header
    dtypes: Mapping[str, np.dtype[np.void]]
    frames: tuple[Frame, ...]
    seals: tuple[tuple[parquet.Seal, int], ...]
    finished: bool
    rows: Mapping[str, int]
    damage: tuple[Damage, ...]

    @classmethod
    def open(cls, path: Path) -> Segment:
        """Look through a file.

        Raises Unreadable, BadInput for a version that we do not know, and OSError.
        """
        with path.open("rb") as file:
            return _Look(path, file).segment()

    @property
    def number(self) -> int:
        """Position in its recording."""
        return self.header.segment

    @property
    def size(self) -> int:
        """On disk, with its Parquet files."""
        files = [self.path, *(self.path.with_name(seal.file) for seal, _ in self.seals)]
        return sum(file.stat().st_size for file in files if file.exists())

    def batches(self, kind: str) -> Iterator[Rows]:
        """Its rows of ``closes`` or ``events``, as they lie there, of the current version.

        Raises FileNotFoundError when it was deleted since it was opened, Failed when it changed.
        """
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_ino == self.inode:
                yield from self._batches(kind, file)
                return
        yield from Segment.open(self.path).batches(kind)

    def documents(self, kind: Kind) -> Iterator[tuple[Frame, Any]]:
        """The frames of a kind that holds JSON, decoded."""
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_ino == self.inode:
                for frame in self.frames:
                    if frame.kind == kind:
                        yield frame, json.loads(self._payload(file, frame))
                return
        yield from Segment.open(self.path).documents(kind)

    def _batches(self, kind: str, file: BinaryIO) -> Iterator[Rows]:
        wanted, ours = KINDS[kind]
        dtype = self.dtypes[kind]
        for rows in self._as_written(kind, wanted, dtype, file):
            current = rows_to_current(self.header.version, rows, kind)
            if current.dtype != ours:
                raise BadInput(
                    f"{self.path}: its rows are not those of format {self.header.version}",
                    "it was written by an unfinished version of tracetw; use that one",
                )
            yield current

    def _as_written(
        self, kind: str, wanted: Kind, dtype: np.dtype[np.void], file: BinaryIO
    ) -> Iterator[Rows]:
        for frame in self.frames:
            if frame.kind == wanted:
                yield np.frombuffer(self._payload(file, frame), dtype)
        for seal, whole in self.seals:
            if seal.kind == kind and whole:
                with self.path.with_name(seal.file).open("rb") as sealed:
                    for part in range(whole):
                        yield parquet.read(sealed, seal, part, dtype)

    def _payload(self, file: BinaryIO, frame: Frame) -> bytes:
        data = payload(file, frame)
        if len(data) != frame.length:
            raise Failed(f"{self.path} changed while it was read")
        return data


def dtypes_to_json() -> dict[str, Any]:
    """The layout of rows as it is written, in the header."""
    return {name: dtype.descr for name, (_, dtype) in KINDS.items()}


@dataclass(slots=True)
class _Look:
    """Looking through one file."""

    path: Path
    file: BinaryIO
    frames: list[Frame] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    damage: list[Damage] = field(default_factory=list)
    finished: bool = False
    end: int = 0
    broken: Broken | None = None

    def segment(self) -> Segment:
        try:
            for frame in scan(self.file):
                self._add(frame)
        except Broken as broken:
            self.broken = broken
        if not self.frames:
            reason = "the file is empty" if self.broken is None else self.broken.reason
            raise Unreadable(Damage(Harm.DAMAGED, self.path, 0, 0, 0, reason))
        header, dtypes = self._header()
        seals = tuple(self._seals())
        if (self.broken is None or self.broken.torn) and not self.finished and self._locked():
            self._add_damage(Harm.UNFINISHED, self.end, "it is being written")
        elif self.broken is not None:
            self._add_damage(Harm.DAMAGED, self.broken.offset, self.broken.reason)
        elif not self.finished:
            self._add_damage(Harm.UNFINISHED, self.end, _CUT)
        return Segment(
            path=self.path,
            inode=os.fstat(self.file.fileno()).st_ino,
            header=replace(header, ended_ns=self.frames[-1].time_ns),
            dtypes=dtypes,
            frames=tuple(self.frames),
            seals=seals,
            finished=self.finished,
            rows=self.rows,
            damage=tuple(self.damage),
        )

    def _add(self, frame: Frame) -> None:
        if not self.frames and frame.kind != Kind.HEADER:
            raise Broken(0, "its first frame is no header")
        if self.finished:
            raise Broken(self.end, "there is more after its last frame")
        if frame.version > FORMAT_VERSION:
            raise BadInput(
                f"{self.path} has format {frame.version}, this tracetw knows {FORMAT_VERSION}",
                "please update tracetw",
            )
        self.frames.append(frame)
        for name, (kind, _) in KINDS.items():
            if frame.kind == kind:
                self.rows[name] += frame.rows
        self.finished = frame.kind == Kind.END
        self.end = frame.offset + frame.length

    def _header(self) -> tuple[Header, dict[str, np.dtype[np.void]]]:
        first = self.frames[0]
        values = json.loads(payload(self.file, first))
        dtypes = {
            name: np.dtype([tuple(_tuples(part) for part in column) for column in layout])
            for name, layout in values.pop("dtypes").items()
        }
        current = header_to_current(first.version, values)
        return Header.from_json(first.version, current), dtypes

    def _seals(self) -> Iterator[tuple[parquet.Seal, int]]:
        for frame in self.frames:
            if frame.kind == Kind.SEAL:
                seal = parquet.Seal.unpack(payload(self.file, frame))
                yield seal, self._whole(seal)

    def _whole(self, seal: parquet.Seal) -> int:
        """How many parts of a Parquet file can be read."""
        path = self.path.with_name(seal.file)
        offsets = [*seal.offsets()]
        whole, harm, reason = 0, Harm.DAMAGED, ""
        try:
            with path.open("rb") as file:
                whole = seal.whole_parts(file)
                file.seek(offsets[-1])
                rest = file.read(len(seal.footer) + 1)
        except FileNotFoundError:
            harm, reason = Harm.MISSING, "the segment names it, it is not there"
        else:
            if whole < len(seal.parts):
                reason = "the checksum of a row group does not hold"
            elif rest != seal.footer:
                reason = "its footer is damaged; the copy of it in the segment is used"
        rows = dict.fromkeys(KINDS, 0)
        rows[seal.kind] = sum(part.rows for part in seal.parts[:whole])
        self.rows[seal.kind] += rows[seal.kind]
        if reason:
            damage = Damage(harm, path, offsets[whole], rows["closes"], rows["events"], reason)
            self.damage.append(damage)
        return whole

    def _add_damage(self, harm: Harm, offset: int, reason: str) -> None:
        """To the segment itself."""
        rows = self.rows
        damage = Damage(harm, self.path, offset, rows["closes"], rows["events"], reason)
        self.damage.append(damage)

    def _locked(self) -> bool:
        """By the recorder that writes it."""
        try:
            fcntl.flock(self.file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False


def _tuples(part: Any) -> Any:  # noqa: ANN401  JSON
    """A shape came as a list."""
    return tuple(part) if isinstance(part, list) else part
