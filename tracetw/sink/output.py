# SPDX-License-Identifier: Apache-2.0
"""Where lines go: whole lines only, whatever happens to the other end.

A batch of lines is one write to a file. The kernel may take less than it was given (a full disk): write
the rest, until the kernel has all. When that fails halfway and the output is a regular file, cut the half
line off, so that the file stays valid.

A pipe, a socket or a terminal gets some whole lines at a time, when it has room for them: the reader
may stand still for ever, and then nobody could take half a line back.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from tracetw.sink.human import amount
from tracetw.stream.batch import Unwritten
from tracetw.stream.stop import Stop

_LOOK_MS = 50


class OutputClosed(Exception):
    """The reader of the output has gone (``| head``): time to stop, nothing went wrong."""


class OutputFailed(Unwritten):
    """The output cannot be written (disk full, I/O error)."""

    def __init__(self, why: str, unwritten: int) -> None:
        super().__init__(f"cannot write the output: {why}", "", unwritten)
        self.missing(unwritten)

    def missing(self, unwritten: int) -> None:
        """So many lines are not in the output, as is known now."""
        super().missing(unwritten)
        self.hint = (
            f"{amount(unwritten, 'line')} {'is' if unwritten == 1 else 'are'} missing from it"
        )


class OutputStalled(OutputFailed):
    """We were asked to end, and the reader of the output takes nothing."""

    def __init__(self, unwritten: int) -> None:
        super().__init__("its reader stands still", unwritten)


@contextmanager
def missing(more: int) -> Iterator[None]:
    """So many lines that come later are missing as well when the output fails here."""
    try:
        yield
    except OutputFailed as error:
        error.missing(error.unwritten + more)
        raise


class Output:
    """Writes whole lines to a binary stream, past its buffer when it has a descriptor.

    Args:
        stream: where to write; flushed once, then written by descriptor if it has one.
        stop: says when waiting for a reader that stands still is over.
    """

    def __init__(self, stream: BinaryIO, stop: Stop | None = None) -> None:
        self._stream = stream
        self._stop = stop or Stop()
        self._file = -1
        self._poll: select.poll | None = None
        try:
            stream.flush()
            self._file = stream.fileno()
        except OSError:  # io.UnsupportedOperation: memory, no descriptor
            return
        mode = os.fstat(self._file).st_mode
        self._is_pipe = stat.S_ISFIFO(mode)
        terminal = os.isatty(self._file)
        self._at_once = 1 if terminal else select.PIPE_BUF
        if self._is_pipe or stat.S_ISSOCK(mode) or terminal:
            self._poll = select.poll()
            self._poll.register(self._file, select.POLLOUT)

    def write(self, lines: bytes | bytearray) -> None:
        """Write lines, each ending in a newline.

        Raises:
            OutputClosed: nobody reads any more.
            OutputFailed: the system refused; a regular file ends with its last whole line.
            OutputStalled: we were asked to end, and nobody reads; the output ends with a whole line.
        """
        if self._file < 0:
            self._stream.write(lines)
            self._stream.flush()
            return
        done = 0
        view = memoryview(lines)
        try:
            for end in _ends(lines, self._at_once) if self._poll else [len(lines)]:
                while done < end and self._room(end - done):
                    done += self._some(view[done:end])
                if done < end:
                    break
            self._stop.waits_since_s = None
        except BrokenPipeError as error:
            raise OutputClosed from error
        except OSError as error:
            kept = _mend(self._file, lines, done)
            why = error.strerror or str(error)
            raise OutputFailed(why, lines.count(b"\n", kept)) from error
        except BaseException:
            _mend(self._file, lines, done)
            raise
        if done < len(lines):
            raise OutputStalled(lines.count(b"\n", done))

    def _some(self, part: memoryview) -> int:
        """Bytes that were taken."""
        try:
            return os.write(self._file, part)
        except BlockingIOError:  # somebody made the shared pipe non-blocking
            select.select([], [self._file], [], _LOOK_MS / 1000)
            return 0

    def _room(self, size: int) -> bool:
        """Wait until a write of so many bytes does not; False when it is no use to wait."""
        if self._poll is None:
            return True
        self._stop.waits_since_s = progress_s = time.monotonic()
        while not self._poll.poll(_LOOK_MS) or (size > select.PIPE_BUF and self._filled()):
            if self._stop.gives_up(progress_s):
                return False
        return True

    def _filled(self) -> bool:
        """A pipe takes a line that is longer than a page at once only when it is empty."""
        if not self._is_pipe:
            return False
        (filled,) = struct.unpack("i", fcntl.ioctl(self._file, termios.FIONREAD, bytes(4)))
        if filled:
            time.sleep(_LOOK_MS / 10_000)
        return bool(filled)


def _ends(lines: bytes | bytearray, most: int) -> Iterator[int]:
    """Where to cut: after whole lines of ``most`` bytes together, or one that is longer.

    A pipe takes ``PIPE_BUF`` at once or not at all (pipe(7)).
    """
    begin = 0
    while begin < len(lines):
        end = lines.rfind(b"\n", begin, begin + most) + 1
        if end <= begin:
            end = lines.find(b"\n", begin) + 1 or len(lines)
        yield end
        begin = end


def _mend(file: int, lines: bytes | bytearray, done: int) -> int:
    """Cut a half line off the end of a regular file. Returns the bytes of whole lines kept."""
    whole = lines.rfind(b"\n", 0, done) + 1
    status = os.fstat(file)
    if whole == done or not stat.S_ISREG(status.st_mode):
        return whole
    end = os.lseek(file, 0, os.SEEK_CUR)
    if end == status.st_size:  # else somebody else wrote behind us: not ours to cut
        os.ftruncate(file, end - (done - whole))
        os.lseek(file, end - (done - whole), os.SEEK_SET)
    return whole
