# SPDX-License-Identifier: Apache-2.0
"""How a command ends: whatever happened becomes an exit code and at most one line on stderr."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, Any

import click

from tracetw.errors import CannotTrace, Failed, UserError, shortage

__all__ = ["interruptible", "outcome"]

_INTERRUPTED = 130
_interrupts = 0


@contextmanager
def interruptible(*, ours: bool) -> Iterator[None]:
    """In this block Ctrl-C raises KeyboardInterrupt; after it, it ends the process without a word.

    ``ours`` is False when SIGINT is ignored, which it is to stay.
    """
    if ours:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _unraisable
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


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
        told = _told(error)
        if told is None:
            raise
        code, message = told
        if message:
            _say(message)
    else:
        code = result if isinstance(result, int) else 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            _settle(stream)
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
    return (error.exit_code, str(error)) if isinstance(error, UserError) else None


def _sentence(error: click.UsageError) -> str:
    """Click's message as one line that says where help is."""
    message = " ".join(error.format_message().split()).rstrip(".")
    path = error.ctx.command_path if error.ctx else "tracetw"
    return f"{message}; see {path} --help"


def _of_system(error: OSError) -> UserError | None:
    """What lies outside of this program: where the output goes, limits, /proc."""
    if sys.stdout is not None and error.filename is None and _fails(sys.stdout, error.errno):
        reason = os.strerror(error.errno or errno.EIO)
        return Failed(f"cannot write standard output: {reason}", "send it elsewhere or make room")
    if (short := shortage(error)) is not None:
        return Failed(*short)
    if str(error.filename).startswith("/proc/") and not os.path.lexists("/proc/self"):
        return CannotTrace("/proc is not mounted", "mount it: mount -t proc proc /proc")
    return None


def _fails(stream: IO[str], number: int | None) -> bool:
    """Was it this stream? What it could not write it still has, and cannot write again."""
    try:
        stream.flush()
    except OSError as error:
        return error.errno == number
    return False


def _settle(stream: IO[str] | None) -> None:
    """Python flushes once more at its end, complains, and changes the exit code to 120."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            stream.flush()


def _say(message: str) -> None:
    """One line for the user; stderr may be gone as well."""
    with suppress(OSError):
        print(f"tracetw: {message}", file=sys.stderr, flush=True)
