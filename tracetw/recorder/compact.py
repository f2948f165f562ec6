# SPDX-License-Identifier: Apache-2.0
"""``python -m tracetw.recorder.compact SHOWN FD/NAME [FD/NAME...] [--now]``: rows to Parquet.

A process of its own, at idle priority (unless told ``--now``), so that neither its memory nor its
time are the tracer's. At every moment there is one whole segment under the name: the Parquet files
are on the disk before the new ``.tws`` that names them takes the place of the old one. The first
FD/NAME is the segment, in a folder that the recorder opened; the others are hard links to it that a
trigger made: they become links to what it has become. SHOWN is its path, for messages.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from tracetw.errors import UserError
from tracetw.recorder.folder import Folder
from tracetw.recording import parquet
from tracetw.recording.convert import FORMAT_VERSION
from tracetw.recording.facts import Harm
from tracetw.recording.frame import Broken, FrameKind, head, payload, scan
from tracetw.recording.reader import SUFFIX, rebatch
from tracetw.recording.segment import KINDS, Segment, Unreadable
from tracetw.text import visible

__all__ = ["HURRY", "TEMPORARY", "clean", "compact", "files_of", "is_raw", "main"]

TEMPORARY = ".tmp"
HURRY = "--now"
_GROUP = 1 << 16
_ROWS = frozenset(kind for kind, _ in KINDS.values())

In = tuple[Folder, str]
"""A segment: its folder and the name of its ``.tws``."""


def files_of(name: str) -> tuple[str, ...]:
    """Names that the files of a segment can have, its ``.tws`` first."""
    return (name, *(_sealed(name, kind) for kind in KINDS))


def is_raw(folder: Folder, name: str) -> bool:
    """Are the rows of a segment in its ``.tws``? False, too, when it cannot be read."""
    try:
        with folder.read(name) as file:
            first = [*islice(scan(file), 2)]
    except (OSError, Broken):
        return False
    known = all(frame.version <= FORMAT_VERSION for frame in first)
    return known and len(first) > 1 and first[1].kind != FrameKind.SEAL


def clean(folder: Folder, name: str) -> None:
    """Remove what a compaction that did not come to its end left. Raises OSError."""
    for file in files_of(name):
        folder.unlink(file + TEMPORARY)
    if is_raw(folder, name):
        for file in files_of(name)[1:]:
            folder.unlink(file)


def compact(folder: Folder, name: str, copies: Sequence[In] = (), *, group: int = _GROUP) -> bool:
    """Compact one segment; False when there is nothing to gain, or nothing may be lost.

    ``group`` is the number of rows in a row group. A damaged segment stays as it is, and so does one
    of another version. Raises OSError, and CannotTrace without pyarrow: then the segment is as it was.
    """
    try:
        segment = Segment.open(folder.path(name))
    except Unreadable:
        return False
    damaged = any(damage.harm is not Harm.UNFINISHED for damage in segment.damage)
    raw = any(frame.kind in _ROWS for frame in segment.frames)
    if damaged or not raw or segment.header.version != FORMAT_VERSION:
        return False
    try:
        seals = [_seal(segment, folder, name, kind, group) for kind in KINDS if segment.rows[kind]]
        _replace(segment, folder, name, seals)
    except BaseException:
        with suppress(OSError):
            clean(folder, name)
        raise
    for other, copy in copies:
        for seal in seals:
            _link(folder, seal.file, other, copy.removesuffix(SUFFIX) + f".{seal.kind}.parquet")
        _link(folder, name, other, copy)
        other.sync()
    return True


def _sealed(name: str, kind: str) -> str:
    return f"{name.removesuffix(SUFFIX)}.{kind}.parquet"


def _seal(segment: Segment, folder: Folder, name: str, kind: str, group: int) -> parquet.Seal:
    """Write the rows of one kind."""
    final = _sealed(name, kind)
    with os.fdopen(folder.replace(final + TEMPORARY), "w+b") as file:
        seal = parquet.write(file, final, kind, rebatch(segment.batches(kind), group))
    folder.rename(final + TEMPORARY, final)
    return seal


def _replace(segment: Segment, folder: Folder, name: str, seals: Sequence[parquet.Seal]) -> None:
    """The same frames, without rows, the seals behind the header: safest from damage there."""
    new = name + TEMPORARY
    with folder.read(name) as old, os.fdopen(folder.replace(new), "w+b") as file:
        first, *rest = segment.frames
        copied = [(frame, payload(old, frame)) for frame in rest if frame.kind not in _ROWS]
        frames: list[tuple[int, bytes, int, int]] = []
        frames += [(FrameKind.HEADER, payload(old, first), 0, first.time_ns)]
        frames += [(FrameKind.SEAL, seal.pack(), 0, first.time_ns) for seal in seals]
        frames += [(frame.kind, data, frame.rows, frame.time_ns) for frame, data in copied]
        seed = 0
        for number, (kind, data, rows, time_ns) in enumerate(frames):
            text, crc = head(
                kind,
                [data],
                version=FORMAT_VERSION,
                number=number,
                rows=rows,
                time_ns=time_ns,
                seed=seed,
            )
            seed = seed or crc
            file.write(text + data)
        file.flush()
        os.fsync(file.fileno())
    folder.sync()  # the Parquet files first
    folder.rename(new, name)
    folder.sync()


def _link(folder: Folder, source: str, other: Folder, target: str) -> None:
    """A hard link, in place of what is there."""
    new = target + TEMPORARY
    other.unlink(new)
    folder.link(source, other, new)
    other.rename(new, target)


def main(arguments: Sequence[str]) -> int:
    """Exit code 0: done, or left alone; 3 without pyarrow; 1 when the disk refused."""
    if HURRY not in arguments:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    shown, *words = (word for word in arguments if word != HURRY)
    places = [
        (Folder(int(fd), Path(shown).parent), name)
        for fd, _, name in (word.partition("/") for word in words)
    ]
    (folder, name), *copies = places
    try:
        compact(folder, name, copies)
    except UserError as error:
        print(f"tracetw: {visible(str(error))}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        said = visible(f"cannot compact {shown}: {error.strerror or error}")
        print(f"tracetw: {said}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
