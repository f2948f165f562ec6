# SPDX-License-Identifier: Apache-2.0
"""Close records of the last minutes, from a recording that is being written on this host."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from tracetw.errors import BadInput
from tracetw.host.identity import boot_id
from tracetw.recording.reader import Recording, open_recordings
from tracetw.timewait.carriers import CARRIER, Carriers, carriers
from tracetw.verdict.judge import judge

__all__ = ["recorded", "recorders"]

_RECENT_NS = 150_000_000_000  # TIME_WAIT, once more for a FIN that came again, and some room
_BATCH = 1 << 16
_LONGEST = 1 << 16
_OUTPUT = ("-o", "--output")


def recorded(folders: Sequence[Path]) -> Carriers:
    """Rows of the last minutes from recordings of this boot of this host, oldest first.

    Raises BadInput when a folder has no recording, or none of this boot.
    """
    mine = [each for each in open_recordings(folders) if each.header.boot == boot_id()]
    if not mine:
        raise BadInput(
            f"the recording in {folders[0]} is not of this host since its last start",
            "give the folder of a recorder that runs here",
        )
    parts = [part for recording in mine for part in _recent(recording)]
    return np.concatenate(parts) if parts else np.empty(0, CARRIER)


def recorders() -> list[Path]:
    """Folders of the ``tracetw record`` that run on this host as root or as this user.

    Whoever may name a process may write a folder, so nobody else's command line is believed.
    """
    found: list[Path] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError, ValueError):
                folder = _folder(process)
                if folder is not None and folder not in found:
                    found.append(folder)
    return found


def _folder(process: Path) -> Path | None:
    if process.stat().st_uid not in {0, os.geteuid()}:
        return None
    with (process / "cmdline").open("rb") as file:
        words = [os.fsdecode(word) for word in file.read(_LONGEST).split(b"\0")]
    if "record" not in words or not any(Path(word).name == "tracetw" for word in words[:5]):
        return None
    words = words[words.index("record") :]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--":
            break
        if word in _OUTPUT and following:
            return Path((process / "cwd").readlink(), following)
        if word.startswith("--output="):
            return Path((process / "cwd").readlink(), word.removeprefix("--output="))
    return None


def _recent(recording: Recording) -> Iterator[Carriers]:
    """Of the segments that were written lately, judged; what was lost around them weakens nothing here."""
    since = time.time_ns() - _RECENT_NS
    headers = [segment.header for segment in recording.segments]
    counts = [segment.rows["closes"] for segment in recording.segments]
    old = sum(
        count
        for header, count in zip(headers, counts, strict=True)
        if header.ended_ns is not None and header.ended_ns < since
    )
    places = np.arange(old, sum(counts), dtype=np.int64)
    for _, rows in recording.closes_at(places):
        for first in range(0, len(rows), _BATCH):
            part = rows[first : first + _BATCH]
            findings = judge(part, recording.header.names, lossy=False)
            found = carriers(part, findings, recording.clock, recording.header.names)
            yield found[found["ended_ns"] >= since]
