# SPDX-License-Identifier: Apache-2.0
"""One segment: what it holds, as far as it is whole."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from msgspec import Struct

from tracetw.errors import BadInput, Failed
from tracetw.event.fields import Rows
from tracetw.event.names import KernelNames
from tracetw.event.record import CLOSE, EVENT
from tracetw.recording import parquet
from tracetw.recording.convert import FORMAT_VERSION, rows_to_current
from tracetw.recording.facts import Damage, Harm
from tracetw.recording.files import NotRegular, open_regular
from tracetw.recording.frame import HEAD_SIZE, Broken, Frame, FrameKind, payload, scan
from tracetw.recording.header import Header
from tracetw.recording.layout import header_of
from tracetw.recording.schema import (
    JSON_BYTES,
    Invalid,
    LostDocument,
    NamesDocument,
    SampleDocument,
    decode,
)

KINDS: Mapping[str, tuple[FrameKind, np.dtype[np.void]]] = {
    "closes": (FrameKind.CLOSES, CLOSE),
    "events": (FrameKind.EVENTS, EVENT),
}


_DOCUMENTS: Mapping[FrameKind, type[Struct]] = {
    FrameKind.SAMPLE: SampleDocument,
    FrameKind.LOST: LostDocument,
    FrameKind.NAMES: NamesDocument,
}
# Of one segment. Its recorder writes a sample every ten seconds, and four frames of rows a second.
_MOST = {
    FrameKind.SAMPLE: 20_000,
    FrameKind.LOST: 10_000,
    FrameKind.NAMES: 100_000,
    FrameKind.SEAL: len(KINDS),
}
_MOST_FRAMES = 300_000
_MOST_BYTES = 1 << 32
_LAST_NS = (1 << 62) - 1
# What a segment does not hold of its header.
_LEFT_OUT: Mapping[str, Any] = {
    "names": KernelNames({}, {}, {}, 1),
    **{name: {} for name in ("netns_names", "sysctls", "counters", "signals", "errors")},
    **dict.fromkeys(("hooks", "absent", "command", "filters"), ()),
}
# Rows are given in pieces of about this size, however large their frame is.
_PIECE_BYTES = 4 << 20
_CUT = "it ends without its last frame: its recorder was killed, or it was cut off there"


_Document = TypeVar("_Document", bound=Struct)


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
        header: of the current version, with ``version`` as written and the end, without what may
            be large: there may be thousands of segments. ``full_header`` has it.
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

        Raises Unreadable, also for a version that we do not know, and OSError.
        """
        try:
            file = open_regular(path)
        except NotRegular as error:
            raise Unreadable(Damage(Harm.DAMAGED, path, 0, 0, 0, str(error))) from error
        with file:
            return _Look(path, file).segment()

    @property
    def number(self) -> int:
        """Position in its recording."""
        return self.header.segment

    @property
    def size(self) -> int:
        """On disk, with its Parquet files."""
        files = [self.path, *self.sealed_files()]
        return sum(file.stat().st_size for file in files if file.exists())

    def sealed_files(self) -> list[Path]:
        """Its Parquet files, if it was compacted."""
        return [self.path.with_name(seal.file) for seal, _ in self.seals]

    def batches(self, kind: str) -> Iterator[Rows]:
        """Its rows of ``closes`` or ``events``, as they lie there, of the current version.

        Raises FileNotFoundError when it was deleted since it was opened, Failed when it changed.
        """
        with self._open() as file:
            if os.fstat(file.fileno()).st_ino == self.inode:
                yield from self._batches(kind, file)
                return
        yield from self._again().batches(kind)

    def documents(self, type_: type[_Document]) -> Iterator[_Document]:
        """The frames that hold a document of this type, decoded."""
        with self._open() as file:
            if os.fstat(file.fileno()).st_ino == self.inode:
                for frame in self.frames:
                    if _DOCUMENTS.get(frame.kind) is type_:  # type: ignore[call-overload]
                        yield self._decoded(frame, file, type_)
                return
        yield from self._again().documents(type_)

    def full_header(self) -> Header:
        """All of the header, read again.

        Raises FileNotFoundError when it was deleted since it was opened, Failed when it changed.
        """
        with self._open() as file:
            if os.fstat(file.fileno()).st_ino != self.inode:
                return self._again().full_header()
            data = self._payload(file, self.frames[0])
        try:
            header, _ = header_of(self.frames[0].version, data)
        except Invalid as error:
            raise Failed(f"{self.path} changed while it was read") from error
        return replace(header, ended_ns=self.header.ended_ns)

    def _open(self) -> BinaryIO:
        try:
            return open_regular(self.path)
        except NotRegular as error:
            raise Failed(f"{self.path} changed while it was read: {error}") from error

    def _again(self) -> Segment:
        """It was compacted since."""
        try:
            return Segment.open(self.path)
        except Unreadable as error:
            raise Failed(f"{self.path} changed while it was read") from error

    def _decoded(self, frame: Frame, file: BinaryIO, type_: type[_Document]) -> _Document:
        try:
            return decode(self._payload(file, frame), type_)
        except Invalid as error:  # it was none when the file was looked through
            raise Failed(f"{self.path} changed while it was read") from error

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
        self, kind: str, wanted: FrameKind, dtype: np.dtype[np.void], file: BinaryIO
    ) -> Iterator[Rows]:
        for frame in self.frames:
            if frame.kind == wanted:
                yield from self._pieces(frame, dtype, file)
        for seal, whole in self.seals:
            if seal.kind == kind and whole:
                yield from self._parts(seal, whole, dtype)

    def _parts(self, seal: parquet.Seal, whole: int, dtype: np.dtype[np.void]) -> Iterator[Rows]:
        path = self.path.with_name(seal.file)
        try:
            with open_regular(path) as sealed:
                for part in range(whole):
                    yield parquet.read(sealed, seal, part, dtype)
        except NotRegular as error:
            raise Failed(f"{path} changed while it was read: {error}") from error
        except Invalid as error:
            offsets = [*seal.offsets()]
            damage = Damage(Harm.DAMAGED, path, offsets[part], 0, 0, str(error))
            raise Unreadable(damage) from error

    def _pieces(self, frame: Frame, dtype: np.dtype[np.void], file: BinaryIO) -> Iterator[Rows]:
        step = max(_PIECE_BYTES // dtype.itemsize, 1) * dtype.itemsize
        for begin in range(0, frame.length, step):
            size = min(step, frame.length - begin)
            piece = replace(frame, offset=frame.offset + begin, length=size)
            yield np.frombuffer(self._payload(file, piece), dtype)

    def _payload(self, file: BinaryIO, frame: Frame) -> bytes:
        data = payload(file, frame)
        if len(data) != frame.length:
            raise Failed(f"{self.path} changed while it was read")
        return data


@dataclass(slots=True)
class _Look:
    """Looking through one file."""

    path: Path
    file: BinaryIO
    frames: list[Frame] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    header: Header | None = None
    dtypes: Mapping[str, np.dtype[np.void]] = field(default_factory=dict)
    sealed: list[parquet.Seal] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)
    damage: list[Damage] = field(default_factory=list)
    finished: bool = False
    end: int = 0
    broken: Broken | None = None

    def segment(self) -> Segment:
        try:
            self._scan()
        except Broken as broken:
            self.broken = broken
        if self.header is None:
            reason = "the file is empty" if self.broken is None else self.broken.reason
            raise Unreadable(Damage(Harm.DAMAGED, self.path, 0, 0, 0, reason))
        seals = tuple((seal, self._whole(seal)) for seal in self.sealed)
        if (self.broken is None or self.broken.torn) and not self.finished and self._locked():
            self._add_damage(Harm.UNFINISHED, self.end, "it is being written")
        elif self.broken is not None:
            self._add_damage(Harm.DAMAGED, self.broken.offset, self.broken.reason)
        elif not self.finished:
            self._add_damage(Harm.UNFINISHED, self.end, _CUT)
        return Segment(
            path=self.path,
            inode=os.fstat(self.file.fileno()).st_ino,
            header=replace(self.header, ended_ns=self.frames[-1].time_ns, **_LEFT_OUT),
            dtypes=self.dtypes,
            frames=tuple(self.frames),
            seals=seals,
            finished=self.finished,
            rows=self.rows,
            damage=tuple(self.damage),
        )

    def _scan(self) -> None:
        size = os.fstat(self.file.fileno()).st_size
        if size > _MOST_BYTES:
            raise Broken(0, f"a file of {size:,} bytes is no segment")
        for frame in scan(self.file):
            self._add(frame)

    def _add(self, frame: Frame) -> None:
        if not self.frames and frame.kind != FrameKind.HEADER:
            raise Broken(0, "its first frame is no header")
        if self.finished:
            raise Broken(self.end, "there is more after its last frame")
        if frame.version > FORMAT_VERSION:
            raise Broken(
                frame.offset - HEAD_SIZE,
                f"it has format {frame.version}, this tracetw knows {FORMAT_VERSION}; please update"
                " tracetw",
            )
        self._check(frame)
        self.frames.append(frame)
        for name, (kind, _) in KINDS.items():
            if frame.kind == kind:
                self.rows[name] += frame.rows
        self.finished = frame.kind == FrameKind.END
        self.end = frame.offset + frame.length

    def _check(self, frame: Frame) -> None:
        """Raises Broken for a frame that no recorder writes, although its checksum holds."""
        begin = frame.offset - HEAD_SIZE
        first = self.frames[0] if self.frames else frame
        if frame.version != first.version or frame.version < 1 or frame.time_ns > _LAST_NS:
            raise Broken(begin, "a frame has a version or a time that it cannot have")
        self.counts[frame.kind] += 1
        most = next((most for kind, most in _MOST.items() if kind == frame.kind), _MOST_FRAMES)
        if self.counts[frame.kind] > most or len(self.frames) >= _MOST_FRAMES:
            raise Broken(begin, f"more than {most:,} frames of one kind")
        try:
            self._check_content(frame)
        except Invalid as error:
            raise Broken(begin, f"a frame is not what it should be: {error}") from error

    def _check_content(self, frame: Frame) -> None:
        """Raises Invalid."""
        for name, (kind, _) in KINDS.items():
            if frame.kind == kind and not (
                frame.rows and frame.length == frame.rows * self.dtypes[name].itemsize
            ):
                raise Invalid("its size is not that of its rows")
        type_ = next((type_ for kind, type_ in _DOCUMENTS.items() if kind == frame.kind), None)
        if type_ is not None:
            decode(self._document(frame), type_)
        elif frame.kind == FrameKind.HEADER:
            if self.header is not None:
                raise Invalid("a second header")
            self.header, self.dtypes = header_of(frame.version, self._document(frame))
        elif frame.kind == FrameKind.SEAL:
            seal = parquet.Seal.unpack(self._document(frame))
            if seal.kind in {one.kind for one in self.sealed}:
                raise Invalid("a second file of one kind")
            self.sealed.append(seal)

    def _document(self, frame: Frame) -> bytes:
        if frame.length > JSON_BYTES:
            raise Invalid(f"a document of {frame.length:,} bytes is no document of tracetw")
        return payload(self.file, frame)

    def _whole(self, seal: parquet.Seal) -> int:
        """How many parts of a Parquet file can be read."""
        path = self.path.with_name(seal.file)
        offsets = [*seal.offsets()]
        whole, harm, reason = 0, Harm.DAMAGED, ""
        try:
            with open_regular(path) as file:
                whole = seal.whole_parts(file)
                file.seek(offsets[-1])
                rest = file.read(len(seal.footer) + 1)
            parquet.check(seal, self.dtypes[seal.kind])
        except FileNotFoundError:
            harm, reason = Harm.MISSING, "the segment names it, it is not there"
        except NotRegular as error:
            reason = str(error)
        except Invalid as error:
            whole, reason = 0, str(error)
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
