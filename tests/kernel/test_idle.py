# SPDX-License-Identifier: Apache-2.0
"""A tracer that has nothing to do does nearly nothing, and shows a line when it comes."""

from __future__ import annotations

import os
import select
import socket
import statistics
import struct
import time
from pathlib import Path

from tests.kernel.kit.pair import only
from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import patient

LINGER_0 = struct.pack("ii", 1, 0)
SPAN_S = 3.0
# Ten looks a second at what wakes nobody, one at the counters.
WAKEUPS = 14
# A look every 25 ms would be 12 ms late on the average.
LINE_MS = 9.0
LINES = 15


def wakeups(pid: int) -> int:
    """How often its threads went to sleep so far."""
    return sum(
        int(line.split()[1])
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )


def test_it_rests_when_nothing_ends(pair: Net) -> None:
    with Tracer(*only(pair)) as tracer:
        time.sleep(1.0)
        before, begin = wakeups(tracer.process.pid), time.monotonic()
        time.sleep(SPAN_S)
        count = wakeups(tracer.process.pid) - before
        assert count / (time.monotonic() - begin) < WAKEUPS


def test_a_line_comes_at_once(pair: Net) -> None:
    reader, writer = os.pipe()
    late = []
    with os.fdopen(writer, "wb") as sink, Tracer(*only(pair), sink=sink) as tracer:
        for _ in range(LINES):
            link = pair.connect()
            link.a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            time.sleep(0.1)
            begin = time.monotonic()
            link.a.close()
            assert os.read(reader, 1 << 16)
            late.append(1000 * (time.monotonic() - begin))
            link.b.close()
            link.listener.close()
            while select.select([reader], [], [], 0.3)[0]:
                os.read(reader, 1 << 16)
        tracer.process.kill()
        tracer.process.wait()
    os.close(reader)
    assert statistics.median(late) < patient(LINE_MS), late
