# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import io
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.sink_rows import CONTEXT, varied
from tracetw.errors import Failed
from tracetw.sink.json import JsonSink
from tracetw.sink.output import Output, OutputClosed, OutputFailed

LINES = b"".join(b"line %d\n" % number for number in range(1000))


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """A limit on the size of files stands in for a full disk: part of a write still succeeds."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_memory() -> None:
    stream = io.BytesIO()
    Output(stream).write(LINES)
    assert stream.getvalue() == LINES


def test_a_pipe_that_takes_a_little_at_a_time_gets_all() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    big = LINES * 50
    got = bytearray()

    def read() -> None:
        while part := os.read(reader, 5000):
            got.extend(part)

    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(writer, "wb") as stream:
        Output(stream).write(big)
    thread.join()
    os.close(reader)
    assert bytes(got) == big


def test_a_reader_that_left() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as stream, pytest.raises(OutputClosed):
        Output(stream).write(LINES)


def test_a_full_device() -> None:
    full = Path("/dev/full")
    with full.open("wb", buffering=0) as stream, pytest.raises(OutputFailed) as caught:
        Output(stream).write(LINES)
    assert isinstance(caught.value, Failed)
    assert caught.value.unwritten == 1000
    assert os.strerror(errno.ENOSPC) in str(caught.value)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as stream:
        output = Output(stream)
        output.write(b"before\n")
        with no_file_above(3000), pytest.raises(OutputFailed) as caught:
            output.write(LINES)
        output.write(b"after\n")
    text = path.read_bytes()
    assert text.startswith(b"before\nline 0\n")
    assert text.endswith(b"\nafter\n")
    kept = text.splitlines()[1:-1]
    assert kept == LINES.splitlines()[: len(kept)]
    assert len(kept) + caught.value.unwritten == 1000


@pytest.mark.parametrize("room", [500, 40_000, 400_000, 9_000_000])
def test_lines_of_a_batch_that_a_full_disk_refuses_are_all_counted(
    tmp_path: Path, room: int
) -> None:
    path = tmp_path / "out"
    rows = 9000
    with path.open("wb") as stream, no_file_above(room), pytest.raises(OutputFailed) as caught:
        JsonSink(stream, CONTEXT).closes(varied(rows))
    kept = path.read_bytes()
    assert not kept or kept.endswith(b"}\n")
    assert kept.count(b"\n") + caught.value.unwritten == rows


def test_lines_that_others_appended_are_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"x" * 5000)
    with path.open("r+b") as stream, no_file_above(3000), pytest.raises(OutputFailed):
        Output(stream).write(LINES)
    assert path.stat().st_size == 5000
