# SPDX-License-Identifier: Apache-2.0
"""Where lines go: whole lines only, whatever happens to the other end.

A batch of lines is one write. The kernel may take less than it was given (a pipe, a full disk); the
rest is written until nothing is left. When that fails halfway and the output is a regular file, the
half line is cut off again, so that what stays is valid.
"""

from __future__ import annotations

import os
import select
import stat
from typing import BinaryIO

from tracetw.errors import Failed
from tracetw.sink.human import amount

__all__ = ["Output", "OutputClosed", "OutputFailed"]


class OutputClosed(Exception):
    """The reader of the output has gone (``| head``): time to stop, nothing went wrong."""


class OutputFailed(Failed):
    """The output cannot be written (disk full, I/O error).

    Attributes:
        unwritten: lines of the failed batch that are not in the output.
    """

    def __init__(self, error: OSError, unwritten: int) -> None:
        super().__init__(
            f"cannot write the output: {error.strerror or error}",
            f"{amount(unwritten, 'line')} of the last batch {'is' if unwritten == 1 else 'are'} missing"
            " from it",
        )
        self.unwritten = unwritten


class Output:
    """Writes whole lines to a binary stream, past its buffer when it has a descriptor.

    Args:
        stream: where to write; flushed once, then written by descriptor if it has one.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._file: int | None = None
        try:
            stream.flush()
            self._file = stream.fileno()
        except OSError:  # io.UnsupportedOperation: memory, no descriptor
            pass

    def write(self, lines: bytes | bytearray) -> None:
        """Write lines, each ending in a newline.

        Raises:
            OutputClosed: nobody reads any more.
            OutputFailed: the system refused; a regular file ends with its last whole line.
        """
        if self._file is None:
            self._stream.write(lines)
            self._stream.flush()
            return
        done = 0
        view = memoryview(lines)
        try:
            while done < len(lines):
                try:
                    done += os.write(self._file, view[done:])
                except BlockingIOError:  # somebody made the shared pipe non-blocking
                    select.select([], [self._file], [])
        except BrokenPipeError as error:
            raise OutputClosed from error
        except OSError as error:
            kept = _mend(self._file, lines, done)
            raise OutputFailed(error, lines.count(b"\n", kept)) from error
        except BaseException:
            _mend(self._file, lines, done)
            raise


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
