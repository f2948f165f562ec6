# SPDX-License-Identifier: Apache-2.0
"""How a command ends: whatever happened becomes an exit code and at most one line on stderr."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, Any

import click

from tracetw import extras
from tracetw.errors import BadInput, CannotTrace, Failed, UserError, shortage
from tracetw.messages import say

_INTERRUPTED = 130
_STDOUT = "standard output"
_SHOWN = 100
_OF_PATHS = {
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""What is wrong with a path that a user named, wherever it turns out."""
_interrupts = 0


@contextmanager
def interruptible(*, ours: bool) -> Iterator[Callable[[], None]]:
    """In this block Ctrl-C raises KeyboardInterrupt until a command has ended; then nothing more.

    It does so from the call of what the block is given: whatever is raised before the block began, it would not catch.
    ``ours`` is False when SIGINT is ignored, which it is to stay.
    """

    def begin() -> None:
        if ours:
            sys.unraisablehook = _unraisable
            signal.signal(signal.SIGINT, _interrupt)

    try:
        yield begin
    except KeyboardInterrupt:  # in the few instructions where nobody else would catch it
        os._exit(_INTERRUPTED)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    global _interrupts  # noqa: PLW0603 (a signal is of the whole process)
    _interrupts += 1
    raise KeyboardInterrupt


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """An interrupt where Python cannot raise (a callback, a destructor) would be printed and lost."""
    if _interrupts and what.exc_type is KeyboardInterrupt:
        os._exit(_INTERRUPTED)
    sys.__unraisablehook__(what)


def outcome(call: Callable[[], Any]) -> int:
    """The exit code of a call, with what it printed written out. A bug still shows its traceback."""
    try:
        result = call()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BaseException as error:
        _finish()
        told = _told(error)
        if told is None:
            raise
        code, message = told
        if message:
            say(message)
    else:
        _finish()
        code = result if isinstance(result, int) else 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            _settle(stream, drop=_interrupts > 0)
    return code


def _told(error: BaseException) -> tuple[int, str] | None:
    """Exit code and message of what a user can cause or cure; None for a bug."""
    # An interrupt in the middle of an import comes out of it as any error.
    if _interrupts or isinstance(error, (KeyboardInterrupt, click.Abort)):
        return _INTERRUPTED, ""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code, ""
    if isinstance(error, click.UsageError):
        return error.exit_code, _sentence(error)
    if isinstance(error, click.ClickException):
        return error.exit_code, " ".join(error.format_message().split())
    if isinstance(error, BrokenPipeError):
        return 0, ""  # a reader that has left got what it wanted
    if isinstance(error, MemoryError):
        error = Failed("out of memory", "give it more (ulimit -v, the cgroup's memory.max)")
    elif isinstance(error, OSError):
        error = _of_system(error) or error
    elif isinstance(error, ImportError):
        error = _of_import(error) or error
    return (error.exit_code, str(error)) if isinstance(error, UserError) else None


def _sentence(error: click.UsageError) -> str:
    """Click's message as one line that says where help is."""
    message = " ".join(error.format_message().split()).rstrip(".")
    path = error.ctx.command_path if error.ctx else "tracetw"
    return f"{message}; see {path} --help"


def _of_import(error: ImportError) -> UserError | None:
    """A package of others that does not work; None for a module of ours, which is a bug."""
    name = error.name or "numpy"
    if name.startswith("tracetw"):
        return None
    return CannotTrace(
        "a package that tracetw needs cannot be imported:"
        f" {name.partition('.')[0]}: {extras.one_line(error)}",
        "install tracetw again",
    )


def _of_system(error: OSError) -> UserError | None:
    """What lies outside of this program: where the output goes, limits, /proc."""
    if error.filename == _STDOUT:
        reason = os.strerror(error.errno or errno.EIO)
        return Failed(f"cannot write {_STDOUT}: {reason}", "send it elsewhere or make room")
    if (short := shortage(error)) is not None:
        return Failed(*short)
    if str(error.filename).startswith("/proc/") and not os.path.lexists("/proc/self"):
        return CannotTrace("/proc is not mounted", "mount it: mount -t proc proc /proc")
    if error.filename and error.errno in _OF_PATHS:
        shown = str(error.filename)[:_SHOWN]
        return BadInput(f"{shown!r} cannot be used: {error.strerror}", "give another path")
    return None


class _StandardOutput(io.FileIO):
    """Descriptor 1, whose errors say that they are its own."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 (as typeshed has it)
        """As FileIO."""
        try:
            return super().write(data) or 0
        except OSError as error:
            error.filename = _STDOUT
            raise


def named_output() -> None:
    """Make errors of standard output tell that they are, and let it take any letter."""
    if sys.stdout is None:
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_StandardOutput(1, "w", closefd=False)),
        encoding=sys.stdout.encoding,
        errors="backslashreplace",  # no locale is a reason to fail
        line_buffering=sys.stdout.isatty(),
    )


def _finish() -> None:
    """The result stands: an interrupt from now on would only take the place of it."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _settle(stream: IO[str] | None, *, drop: bool) -> None:
    """Python flushes once more at its end, complains, and changes the exit code to 120.

    ``drop`` what an interrupted command had not written: its reader may never read it.
    """
    if stream is None:
        return
    try:
        if drop:
            raise BrokenPipeError
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            stream.flush()
