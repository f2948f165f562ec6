# SPDX-License-Identifier: Apache-2.0
"""A trace whose stream goes to two sinks: JSON lines on standard output and a recording.

Two tracers would lose different records. ``python -m tests.kernel.kit.tee FOLDER READY_FD BYTES STALL``:
BYTES may wait in memory, and the sinks stand still for STALL seconds at a time when there is much.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tracetw.live.request import Request
from tracetw.live.run import run
from tracetw.recorder.make import records_to
from tracetw.recorder.tape import TapeLimits
from tracetw.sink.factory import lines_to
from tracetw.stream.batch import Closes, Context, Events, Loss, Sink, Summary

MANY = 1000


@dataclass(slots=True)
class Tee:
    """Hands everything to each of its sinks."""

    sinks: tuple[Sink, ...]
    stall_s: float

    def head(self) -> None:
        for sink in self.sinks:
            sink.head()

    def closes(self, batch: Closes) -> None:
        if len(batch.rows) > MANY:
            time.sleep(self.stall_s)
        for sink in self.sinks:
            sink.closes(batch)

    def events(self, batch: Events) -> None:
        for sink in self.sinks:
            sink.events(batch)

    def loss(self, loss: Loss) -> None:
        for sink in self.sinks:
            sink.loss(loss)

    def summary(self, summary: Summary) -> None:
        for sink in self.sinks:
            sink.summary(summary)


def main() -> int:
    folder, ready_fd, buffer_bytes, stall_s = sys.argv[1:]
    request = Request(ready_fd=int(ready_fd), buffer_bytes=int(buffer_bytes))
    lines = lines_to(sys.stdout.buffer, "json", color=False, utc=True)
    records = records_to(Path(folder), TapeLimits(), (), request.events, ())

    def both(context: Context) -> Sink:
        return Tee((lines(context), records(context)), float(stall_s))

    return run(request, both)


if __name__ == "__main__":
    sys.exit(main())
