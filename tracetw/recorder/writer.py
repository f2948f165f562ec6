# SPDX-License-Identifier: Apache-2.0
"""Writing one segment: whole frames only, whatever the disk does."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tracetw.recorder.allocate import allocate
from tracetw.recorder.folder import Folder
from tracetw.recording.convert import FORMAT_VERSION
from tracetw.recording.frame import Chunk, FrameKind, head
from tracetw.recording.header import Header
from tracetw.recording.layout import dtypes_to_json
from tracetw.text import json_line

_LAST_BYTES = 8 << 10


class SegmentWriter:
    """A segment that grows. It is locked as long as it is open, so that a reader can tell.

    Where the file system can promise room, there is always enough for the last frames: a disk that
    is full takes the count of what it did not take.

    Args:
        folder: where it lies; needed no longer than this call.
        name: of the file, which must be new.
        header: its first frame.

    Attributes:
        size: bytes so far.
        rows: rows so far, by kind of frame.

    Every method may raise OSError; the file then ends with its last whole frame.
    """

    def __init__(self, folder: Folder, name: str, header: Header) -> None:
        self.size = 0
        self.rows = {FrameKind.CLOSES: 0, FrameKind.EVENTS: 0}
        self._number = 0
        self._seed = 0
        self._promises = True
        self._file = folder.create(name)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.add(FrameKind.HEADER, [to_json({**header.to_json(), "dtypes": dtypes_to_json()})])
            folder.sync()
        except BaseException:
            os.close(self._file)
            folder.unlink(name)
            raise

    def add(
        self, kind: FrameKind, parts: Sequence[Chunk], rows: int = 0, *, last: bool = False
    ) -> None:
        """Write one frame with the payload in ``parts``.

        The ``last`` ones, a few hundred bytes, take the room that was held for them.
        """
        first, crc = head(
            kind,
            parts,
            version=FORMAT_VERSION,
            number=self._number,
            rows=rows,
            time_ns=time.time_ns(),
            seed=self._seed,
        )
        if self._promises and not last:
            length = len(first) + sum(len(part) for part in parts)
            self._promises = allocate(self._file, self.size, length + _LAST_BYTES)
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
            counts = {"closes": self.rows[FrameKind.CLOSES], "events": self.rows[FrameKind.EVENTS]}
            self.add(FrameKind.END, [to_json(counts)], last=True)
            os.ftruncate(self._file, self.size)  # gives back what was held
            self.sync()
        finally:
            os.close(self._file)


def to_json(values: Any) -> bytes:  # noqa: ANN401
    """Compact UTF-8."""
    return json_line(values).encode()
