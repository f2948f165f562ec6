# SPDX-License-Identifier: Apache-2.0
"""The reader of the output stands still: the ring is emptied all the same, and a signal ends the trace."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from scripts.benchmark.storm import Storm
from tracetw.lab.net.host import Host
from tracetw.lab.play.child import COMMAND, READY, Child
from tracetw.lab.polling import eventually, patient

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

READY_S = 60.0
ENDED_S = 1.0
END_S = 60.0
MANY = 20_000
RING = 26_214


def pipe() -> tuple[int, int]:
    return os.pipe()


def sockets() -> tuple[int, int]:
    reader, writer = socket.socketpair()
    return reader.detach(), writer.detach()


class Stalled(Child):
    """A tracer whose output goes to ``writer``; nobody reads it yet."""

    def __init__(self, writer: int, namespace: Host, *arguments: str) -> None:
        chosen = ["--netns", str(namespace.netns)]
        super().__init__(
            [*COMMAND, "trace", "--ready-fd", READY, *chosen, *arguments], stdout=writer
        )
        os.close(writer)
        self.await_ready()

    def stop(self, number: int) -> float:
        """Seconds that it took to end, with status 1."""
        begin = time.monotonic()
        self.end(1, number)
        return time.monotonic() - begin


@pytest.fixture
def start(namespace: Host) -> Iterator[Callable[..., Stalled]]:
    """Starts one, which ends with the test."""
    with ExitStack() as stack:
        yield lambda writer, *arguments: stack.enter_context(Stalled(writer, namespace, *arguments))


def everything(reader: int) -> bytes:
    parts = []
    while part := os.read(reader, 1 << 20):
        parts.append(part)
    os.close(reader)
    return b"".join(parts)


def filled(reader: int) -> Callable[[], bool]:
    """The output has taken what it takes: it does not grow."""
    last = -1

    def same() -> bool:
        nonlocal last
        now = int.from_bytes(fcntl.ioctl(reader, 0x541B, bytes(4)), "little")  # FIONREAD
        before, last = last, now
        return now > 0 and now == before

    return same


@pytest.mark.parametrize(
    "how",
    [
        ("json", pipe, signal.SIGINT),
        ("table", pipe, signal.SIGTERM),
        ("wide", pipe, signal.SIGINT),
        ("json", sockets, signal.SIGTERM),
    ],
    ids=lambda how: f"{how[0]}-{how[1].__name__}-{how[2].name}",
)
def test_a_signal_ends_a_trace_that_nobody_reads(
    storm: Storm,
    namespace: Host,
    start: Callable[..., Stalled],
    how: tuple[str, Callable[[], tuple[int, int]], signal.Signals],
) -> None:
    """Within a second, with whole lines, and it says how many are missing."""
    output, channel, number = how
    reader, writer = channel()
    tracer = start(writer, "-o", output)
    storm.run(namespace, MANY, "rst")
    eventually(filled(reader))
    assert tracer.stop(number) < patient(ENDED_S)
    text = everything(reader)
    assert text.endswith(b"\n")
    lines = text.splitlines()
    if output == "json":
        assert {json.loads(line)["kind"] for line in lines} == {"close"}
    closes = len(lines) - (output != "json")  # a heading
    said = tracer.said()
    assert "Traceback" not in said
    match = re.search(r"its reader stands still; ([\d,]+) lines are missing", said)
    assert match, said
    assert f"lost: {match[1]} records could not be written" in said
    assert closes + int(match[1].replace(",", "")) == 2 * MANY


def test_a_signal_ends_a_trace_on_a_terminal_that_takes_nothing(
    storm: Storm, namespace: Host, start: Callable[..., Stalled]
) -> None:
    """It may have taken half a line: a write to a terminal does not return then."""
    master, slave = os.openpty()
    tracer = start(slave)
    storm.run(namespace, MANY, "rst")
    eventually(filled(master))
    assert tracer.stop(signal.SIGTERM) < patient(ENDED_S)
    os.close(master)
    assert "its reader stands still" in tracer.said()


def test_a_reader_that_goes_on_gets_everything(
    storm: Storm, namespace: Host, start: Callable[..., Stalled]
) -> None:
    """It stood still during a storm of more ends than the ring holds."""
    reader, writer = pipe()
    tracer = start(writer, "-o", "json")
    for _ in range(2):
        storm.run(namespace, MANY, "rst")
    assert 4 * MANY > 2 * RING
    os.set_blocking(reader, True)
    tracer.process.send_signal(signal.SIGINT)
    text = everything(reader)
    assert tracer.process.wait(patient(END_S)) == 0, tracer.said()
    kinds = [json.loads(line)["kind"] for line in text.splitlines()]
    assert kinds.count("close") == 4 * MANY
    assert kinds[-1] == "summary"
    assert "lost: nothing" in tracer.said()


def test_beyond_the_buffer_what_is_lost_is_counted(
    storm: Storm, namespace: Host, start: Callable[..., Stalled]
) -> None:
    reader, writer = pipe()
    tracer = start(writer, "-o", "json", "--buffer", "1M")
    for _ in range(3):
        storm.run(namespace, MANY, "rst")
    tracer.process.send_signal(signal.SIGINT)
    lines = [json.loads(line) for line in everything(reader).splitlines()]
    assert tracer.process.wait(patient(END_S)) == 0, tracer.said()
    closes = sum(line["kind"] == "close" for line in lines)
    lost = sum(line["records"] for line in lines if line["kind"] == "loss")
    assert closes + lost == 6 * MANY
    assert lost == lines[-1]["lost"] > 0
    assert "tracetw record" in tracer.said()
