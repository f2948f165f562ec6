# SPDX-License-Identifier: Apache-2.0
"""When a reader that stands still is given up."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tracetw.sink.output import Output, OutputStalled
from tracetw.stream.stop import Stop

LINE = b"x" * 99 + b"\n"


def test_never_before_a_signal_and_not_while_it_takes_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stop = Stop()
    assert not stop.gives_up(0.0)
    stop(signal.SIGINT, None)
    assert (stop.signal, stop.times) == (signal.SIGINT, 1)
    assert not stop.gives_up(0.0)
    now[0] = 100.5
    assert stop.gives_up(0.0)
    assert not stop.gives_up(100.4)
    assert not stop.gives_up(0.0, 0.3)
    stop(signal.SIGTERM, None)
    assert stop.gives_up(100.4, 9.0)


@pytest.mark.parametrize("length", [100, 4000, 5000, 20_000])
def test_a_pipe_that_nobody_reads_ends_with_a_whole_line(length: int) -> None:
    """Also where a line is longer than a pipe takes at once."""
    reader, writer = os.pipe()
    stop = Stop()
    line = b"x" * (length - 1) + b"\n"
    count = (1 << 18) // length
    threading.Timer(0.2, stop, (signal.SIGTERM, None)).start()
    with os.fdopen(writer, "wb", buffering=0) as stream, pytest.raises(OutputStalled) as caught:
        Output(stream, stop).write(line * count)
    got = bytearray()
    while part := os.read(reader, 1 << 20):
        got += part
    os.close(reader)
    assert len(got) % length == 0
    assert got.count(b"\n") + caught.value.unwritten == count
    assert got.count(b"\n") > 0
    assert stop.waits_since_s is None


def test_a_slow_reader_gets_everything_after_a_signal() -> None:
    reader, writer = os.pipe()
    stop = Stop()
    stop(signal.SIGINT, None)
    got = bytearray()

    def read() -> None:
        while part := os.read(reader, 1 << 15):
            got.extend(part)
            time.sleep(0.1)

    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(writer, "wb", buffering=0) as stream:
        Output(stream, stop).write(LINE * 4000)
    thread.join()
    os.close(reader)
    assert bytes(got) == LINE * 4000
