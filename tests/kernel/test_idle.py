# SPDX-License-Identifier: Apache-2.0
"""A tracer that has nothing to do does nearly nothing, and shows a line when it comes."""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import statistics
import struct
import time
from pathlib import Path

import pytest

from tests.kernel.kit.pair import only
from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually, patient

LINGER_0 = struct.pack("ii", 1, 0)
SPAN_S = 3.0
# One look a second at the counters.
WAKEUPS = 3
# A look every 25 ms would be 12 ms late on the average, whatever the machine does.
LINE_MS = 9.0
LINES, TRIES = 15, 5
# _PATIENCE_NS in live/source.py, and what the look and the line take.
PATIENCE_S, OVERDUE_S = 0.2, 0.45
ENDED_S = 0.6


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


def lines(pair: Net, reader: int, *, orderly: bool) -> list[float]:
    """Milliseconds from the end of a connection to its line, of some connections one after the other."""
    late = []
    for _ in range(LINES):
        link = pair.connect()
        if orderly:
            link.b.close()
        else:
            link.a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        # It polls by now, for longer than SOON_MS of kernel/load/session.py.
        time.sleep(0.1)
        begin = time.monotonic()
        link.a.close()
        assert os.read(reader, 1 << 16)
        late.append(1000 * (time.monotonic() - begin))
        link.b.close()
        link.listener.close()
        while select.select([reader], [], [], 0.3)[0]:
            os.read(reader, 1 << 16)
    return late


@pytest.mark.parametrize("orderly", [False, True], ids=["reset", "orderly"])
def test_a_line_comes_at_once(pair: Net, *, orderly: bool) -> None:
    """What a record in a ring wakes, or the bell: a reset leaves one in a table too, an orderly end does not.

    On a machine whose CPUs others take, the thread that writes waits its turn: then once more.
    """
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as sink, Tracer(*only(pair), sink=sink) as tracer:
        found = (statistics.median(lines(pair, reader, orderly=orderly)) for _ in range(TRIES))
        late = list(itertools.takewhile(lambda one: one >= patient(LINE_MS), found))
        tracer.process.kill()
        tracer.process.wait()
    os.close(reader)
    assert len(late) < TRIES, late


def test_what_waits_in_a_table_wakes_it(pair: Net) -> None:
    """A reset arrives for a socket that its application does not close: told after 0.2 s, not after the next look."""
    reader, writer = os.pipe()
    late = []
    with os.fdopen(writer, "wb") as sink, Tracer(*only(pair), sink=sink) as tracer:
        for _ in range(4):
            link = pair.connect()
            link.a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            time.sleep(1.2)
            begin = time.monotonic()
            link.a.close()
            while b"peer-reset" not in os.read(reader, 1 << 16):
                pass
            late.append(time.monotonic() - begin)
            link.b.close()
            link.listener.close()
        tracer.process.kill()
        tracer.process.wait()
    os.close(reader)
    assert max(late) < patient(OVERDUE_S), late
    assert min(late) > PATIENCE_S, late


def test_it_rests_again_when_what_waited_was_closed_in_time(pair: Net) -> None:
    """The reset socket is looked at once, before it is late, and closed before the next look."""
    with Tracer(*only(pair)) as tracer:
        link = pair.connect()
        link.a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        time.sleep(1.2)
        link.a.close()
        time.sleep(0.1)
        link.b.close()
        tracer.close_of(pair.b.netns)
        stat = Path(f"/proc/{tracer.process.pid}/schedstat")
        before = int(stat.read_text().split()[0])
        time.sleep(1.5)
        assert int(stat.read_text().split()[0]) - before < 0.2e9


def test_the_thread_that_writes_has_the_usual_priority(pair: Net) -> None:
    """The one that reads the kernel must not be starved; formatting must not starve others."""
    with Tracer(*only(pair)) as tracer:
        tasks = Path(f"/proc/{tracer.process.pid}/task")
        usual = os.getpriority(os.PRIO_PROCESS, 0)

        def as_wanted() -> bool:
            found = [os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in tasks.iterdir()]
            return min(found) == -10 and sorted(found)[1:] == [usual] * (len(found) - 1) != []

        # It says that it is ready before it raises its priority and starts the other thread.
        eventually(as_wanted, deadline_s=2)


def test_a_signal_ends_the_rest_at_once(pair: Net) -> None:
    with Tracer(*only(pair)) as tracer:
        time.sleep(1.5)
        begin = time.monotonic()
        tracer.process.send_signal(signal.SIGTERM)
        tracer.process.wait(patient(10))
        assert time.monotonic() - begin < patient(ENDED_S)
