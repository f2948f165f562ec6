# SPDX-License-Identifier: Apache-2.0
"""``python -m tracetw.recorder.compact SEGMENT [COPY...] [--now]``: rows to Parquet.

A process of its own, at idle priority (unless told ``--now``), so that neither its memory nor its
time are the tracer's. At every moment there is one whole segment under the name: the Parquet files
are on the disk before the new ``.tws`` that names them takes the place of the old one. COPY are
hard links to SEGMENT that a trigger made; they become links to what it has become.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tracetw.errors import UserError
from tracetw.recorder.writer import sync_folder
from tracetw.recording import parquet
from tracetw.recording.convert import FORMAT_VERSION
from tracetw.recording.facts import Harm
from tracetw.recording.frame import Kind, head, payload
from tracetw.recording.reader import rebatch
from tracetw.recording.segment import KINDS, Segment, Unreadable

__all__ = ["HURRY", "TEMPORARY", "compact", "main"]

TEMPORARY = ".tmp"
HURRY = "--now"
_GROUP = 1 << 16
_ROWS = frozenset(kind for kind, _ in KINDS.values())


def compact(path: Path, copies: Sequence[Path] = (), *, group: int = _GROUP) -> bool:
    """Compact one segment; False when there is nothing to gain, or nothing may be lost.

    ``group`` is the number of rows in a row group. A damaged segment stays as it is, and so does one of another version. Raises OSError, and
    CannotTrace without pyarrow.
    """
    try:
        segment = Segment.open(path)
    except Unreadable:
        return False
    damaged = any(damage.harm is not Harm.UNFINISHED for damage in segment.damage)
    raw = any(frame.kind in _ROWS for frame in segment.frames)
    if damaged or not raw or segment.header.version != FORMAT_VERSION:
        return False
    seals = [_seal(segment, kind, group) for kind in KINDS if segment.rows[kind]]
    _replace(segment, seals)
    for copy in copies:
        for seal in seals:
            _link(path.with_name(seal.file), copy.with_name(seal.file))
        _link(path, copy)
        sync_folder(copy.parent)
    return True


def _seal(segment: Segment, kind: str, group: int) -> parquet.Seal:
    """Write the rows of one kind."""
    final = segment.path.with_suffix(f".{kind}.parquet")
    new = final.with_name(final.name + TEMPORARY)
    seal = parquet.write(new, kind, rebatch(segment.batches(kind), group))
    new.rename(final)
    return parquet.Seal(kind, final.name, seal.parts, seal.footer)


def _replace(segment: Segment, seals: Sequence[parquet.Seal]) -> None:
    """The same frames, without rows, the seals behind the header: safest from damage there."""
    path = segment.path
    new = path.with_name(path.name + TEMPORARY)
    with path.open("rb") as old, new.open("wb") as file:
        first, *rest = segment.frames
        copied = [(frame, payload(old, frame)) for frame in rest if frame.kind not in _ROWS]
        frames: list[tuple[int, bytes, int, int]] = []
        frames += [(Kind.HEADER, payload(old, first), 0, first.time_ns)]
        frames += [(Kind.SEAL, seal.pack(), 0, first.time_ns) for seal in seals]
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
    sync_folder(path.parent)  # the Parquet files first
    new.rename(path)
    sync_folder(path.parent)


def _link(source: Path, target: Path) -> None:
    """A hard link, in place of what is there."""
    new = target.with_name(target.name + TEMPORARY)
    new.unlink(missing_ok=True)
    os.link(source, new)
    new.rename(target)


def main(arguments: Sequence[str]) -> int:
    """Exit code 0: done, or left alone; 3 without pyarrow; 1 when the disk refused."""
    if HURRY not in arguments:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    path, *copies = (Path(word) for word in arguments if word != HURRY)
    try:
        compact(path, copies)
    except UserError as error:
        print(f"tracetw: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        print(f"tracetw: cannot compact {path}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
