# SPDX-License-Identifier: Apache-2.0
"""Writes a recording of invented connections, of any size, for measuring report and query.

    python -m tests.scale.make_recording FOLDER [ROWS]

Ten million rows by default: 98 % orderly, an outage in the middle, clients that reset, refusals.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from tests.unit.report_rows import (
    BOOT,
    NETNS,
    SECOND,
    SYSCTLS,
    WALL,
    connections,
    header_of,
)
from tracetw.event.record import CLOSE
from tracetw.recorder import writer as writer_module
from tracetw.recorder.folder import Folder
from tracetw.recorder.writer import SegmentWriter
from tracetw.recording.frame import FrameKind

__all__ = ["make", "write"]

_FRAME = 4096
_SEGMENT = 1 << 18
_HOURS = 1.0
_BLOCK = 1 << 17


def write(
    folder: Path,
    batches: list[NDArray[np.void]],
    *,
    host: str = "web-1",
    run: str = "0123456789abcdef",
    first_segment: int = 0,
    seconds: float = 3600,
) -> int:
    """Adds segments below ``folder``; returns the number of the next one."""
    rows = np.concatenate(batches)
    number = first_segment
    for begin in range(0, len(rows), _SEGMENT):
        part = rows[begin : begin + _SEGMENT]
        header = replace(header_of(host, seconds), run=run, segment=number)
        # A frame carries the time of writing, and the last one is the end of the recording.
        ended = WALL + int(seconds * SECOND)
        vars(writer_module)["time"] = SimpleNamespace(time_ns=lambda ended=ended: ended)
        path = folder / f"host={host}" / "hour=2026-01-02T12"
        with Folder.reach(path) as place:
            writer = SegmentWriter(place, f"{run[:8]}-{number:06d}.tws", header)
        if number == 0:
            writer.add(FrameKind.SAMPLE, [_sample("attached", WALL)])
        for at in range(0, len(part), _FRAME):
            some = part[at : at + _FRAME]
            writer.add(FrameKind.CLOSES, [some.tobytes()], rows=len(some))
        writer.finish()
        number += 1
    return number


def _sample(moment: str, time_ns: int) -> bytes:
    return json.dumps(
        {
            "moment": moment,
            "time_ns": time_ns,
            "clock": [WALL - BOOT, 0],
            "counters": {NETNS: {"EstabResets": 0, "OutRsts": 0, "tw": 12}},
            "sysctls": {NETNS: SYSCTLS},
            "netns_names": {},
            "stats": {},
            "unfinished": 0,
            "gone": [],
        }
    ).encode()


def make(folder: Path, rows: int, seed: int = 1) -> None:
    """A whole recording, block after block in the order of time."""
    random = np.random.default_rng(seed)
    number = 0
    span = _HOURS * 3600
    for begin in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - begin)
        number = write(
            folder,
            [_block(random, count, begin / rows * span, count / rows * span)],
            first_segment=number,
            seconds=span,
        )


def _block(
    random: np.random.Generator, count: int, begin: float, length: float
) -> NDArray[np.void]:
    """Connections that end within ``length`` seconds from ``begin``, in order."""

    def ends(part: float) -> NDArray[np.float64]:
        return begin + random.uniform(0, length, int(count * part))

    served = ends(0.5)
    server = connections(
        "orderly-passive", served, lport=443, rport=0, server=True, remote="192.0.2.7"
    )
    server["raddr"][:, 2:4] = random.integers(0, 256, (len(served), 2)) % [[16, 250]]
    backend = connections("orderly-active", ends(0.4), remote="10.1.2.3", rport=5432, comm=b"app")
    backend["raddr"][:, 3] = random.integers(1, 40, len(backend))
    backend["pid"] = 1000 + random.integers(0, 200, len(backend))
    parts = [server, backend]
    resets = connections(
        "peer-reset", ends(0.01), remote="192.0.2.9", lport=443, rport=0, server=True
    )
    resets["raddr"][:, 2:4] = random.integers(0, 256, (len(resets), 2)) % [[16, 250]]
    parts.append(resets)
    outage = begin > 1800
    if outage:
        parts.append(connections("keepalive-expired", ends(0.01), remote="10.1.2.3", rport=5432))
        parts.append(connections("connect-refused", ends(0.005), remote="10.1.2.9", rport=8080))
    parts.append(
        connections("abort-unread", ends(0.002), remote="192.0.2.8", lport=443, server=True)
    )
    missing = count - sum(map(len, parts))
    parts.append(
        connections(
            "orderly-active",
            begin + random.uniform(0, length, missing),
            remote="2001:db8::5",
            local="2001:db8::1",
            rport=6379,
        )
    )
    rows: NDArray[np.void] = np.concatenate(parts).astype(CLOSE, copy=False)
    return rows[np.argsort(rows["at"].max(axis=1), kind="stable")]


def main() -> None:
    """Command line."""
    folder = Path(sys.argv[1])
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000
    make(folder, rows)
    print(f"{rows:,} rows in {folder}")


if __name__ == "__main__":
    main()
