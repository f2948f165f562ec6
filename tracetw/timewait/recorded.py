# SPDX-License-Identifier: Apache-2.0
"""Close records of the last minutes, from a recording that is being written on this host."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tracetw.errors import BadInput
from tracetw.host.identity import boot_id
from tracetw.recording.reader import Recording, open_recordings
from tracetw.timewait.carriers import CARRIER, Carriers, carriers
from tracetw.verdict.judge import judge

_RECENT_NS = 150_000_000_000  # TIME_WAIT, once more for a FIN that came again, and some room
_BATCH = 1 << 16


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
    return joined([part for recording in mine for part in _recent(recording)])


def joined(parts: Sequence[Carriers]) -> Carriers:
    """One after the other."""
    return np.concatenate(parts) if parts else np.empty(0, CARRIER)


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
