# SPDX-License-Identifier: Apache-2.0
"""Writing one segment: whole frames only, whatever the disk does."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tracetw.recording.convert import FORMAT_VERSION
from tracetw.recording.frame import Chunk, Kind, head
from tracetw.recording.header import Header
from tracetw.recording.layout import dtypes_to_json

__all__ = ["SegmentWriter", "sync_folder", "to_json"]


class SegmentWriter:
    """A segment that grows. It is locked as long as it is open, so that a reader can tell.

    Attributes:
        path: the file.
        size: bytes so far.
        rows: rows so far, by kind of frame.

    Every method may raise OSError; the file then ends with its last whole frame.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.size = 0
        self.rows = {Kind.CLOSES: 0, Kind.EVENTS: 0}
        self._number = 0
        self._seed = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.add(Kind.HEADER, [to_json({**header.to_json(), "dtypes": dtypes_to_json()})])
            sync_folder(path.parent)
        except BaseException:
            os.close(self._file)
            path.unlink()
            raise

    def add(self, kind: Kind, parts: Sequence[Chunk], rows: int = 0) -> None:
        """Write one frame with the payload in ``parts``."""
        first, crc = head(
            kind,
            parts,
            version=FORMAT_VERSION,
            number=self._number,
            rows=rows,
            time_ns=time.time_ns(),
            seed=self._seed,
        )
        self.add_raw([first, *parts])
        self._seed = self._seed or crc
        if kind in self.rows:
            self.rows[kind] += rows

    def add_raw(self, parts: Sequence[Chunk]) -> None:
        """Write a frame that is ready."""
        left = [memoryview(part) for part in parts if len(part)]
        size = self.size
        try:
            while left:
                done = os.writev(self._file, left[: os.sysconf("SC_IOV_MAX")])
                size += done
                while left and done >= len(left[0]):
                    done -= len(left.pop(0))
                if left:
                    left[0] = left[0][done:]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self.size)
                os.lseek(self._file, self.size, os.SEEK_SET)
            raise
        self.size = size
        self._number += 1

    def sync(self) -> None:
        """Through to the disk."""
        os.fdatasync(self._file)

    def finish(self) -> None:
        """Write the last frame and close."""
        try:
            counts = {"closes": self.rows[Kind.CLOSES], "events": self.rows[Kind.EVENTS]}
            self.add(Kind.END, [to_json(counts)])
            self.sync()
        finally:
            os.close(self._file)


def to_json(values: Any) -> bytes:  # noqa: ANN401
    """Compact UTF-8."""
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )


def sync_folder(path: Path) -> None:
    """What was created, renamed or deleted in a folder survives a power cut from here on."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
