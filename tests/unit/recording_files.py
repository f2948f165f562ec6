# SPDX-License-Identifier: Apache-2.0
"""Recordings made for tests, from the real traffic of the golden one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tracetw.event.fields import Rows
from tracetw.event.record import CLOSE
from tracetw.recorder.compact import HURRY, compact
from tracetw.recorder.compact import main as compact_main
from tracetw.recorder.folder import Folder
from tracetw.recorder.writer import SegmentWriter
from tracetw.recording.convert import FORMAT_VERSION
from tracetw.recording.frame import FrameKind
from tracetw.recording.header import Header
from tracetw.recording.reader import Recording, open_recordings

GOLDEN = Path(__file__).parents[1] / "data" / "recordings"
KINDS = {"closes": FrameKind.CLOSES, "events": FrameKind.EVENTS}


def golden(which: str = "raw") -> Recording:
    """The recording of this version."""
    (recording,) = open_recordings([GOLDEN / f"v{FORMAT_VERSION}" / which])
    return recording


def everything(recording: Recording, kind: str = "closes") -> Rows:
    """All rows of a recording."""
    batches = [*(recording.closes() if kind == "closes" else recording.events())]
    return np.concatenate(batches) if batches else np.empty(0, CLOSE)


def written(path: Path, header: Header, *, frame_rows: int = 20, finish: bool = True) -> Path:
    """A segment with the rows of the golden recording in frames of a few rows each."""
    with Folder.reach(path.parent) as folder:
        writer = SegmentWriter(folder, path.name, header)
    recording = golden()
    for kind, number in KINDS.items():
        rows = everything(recording, kind)
        for first in range(0, len(rows), frame_rows):
            part = rows[first : first + frame_rows]
            writer.add(number, [part.tobytes()], len(part))
    if finish:
        writer.finish()
    else:
        writer.sync()
    return path


def compacted(path: Path, header: Header) -> Path:
    """The same, compacted to row groups of a few rows each."""
    with Folder.reach(path.parent) as folder:
        assert compact(folder, written(path, header).name, group=64)
    return path


def compaction(path: Path) -> int:
    """Exit code of the child that the recorder starts for a segment."""
    with Folder.reach(path.parent) as folder:
        return compact_main([str(path), f"{folder.fd}/{path.name}", HURRY])
