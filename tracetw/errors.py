# SPDX-License-Identifier: Apache-2.0
"""Errors that are meant for the user: one line, an optional hint and an exit code.

Inside, modules raise Python's own exceptions. What a user can cause or cure is raised as one of
these, and ``tracetw.cli`` is the one place that turns them into text and an exit code.
"""

from __future__ import annotations

import errno
import resource
from typing import ClassVar


class UserError(Exception):
    """Something to tell the user, without a traceback.

    ``message`` says what is wrong and where; ``hint`` what to do about it ("" when the message says
    it all). Both are single lines without a final full stop: ``str()`` joins them with a semicolon.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class Failed(UserError):
    """The request was valid and this host can do it, but it went wrong (exit code 1)."""

    exit_code: ClassVar[int] = 1


class BadInput(UserError):
    """An argument or a file of the user is wrong (exit code 2)."""

    exit_code: ClassVar[int] = 2


class CannotTrace(UserError):
    """This kernel, these privileges or this installation cannot trace (exit code 3)."""

    exit_code: ClassVar[int] = 3


def shortage(error: OSError) -> tuple[str, str] | None:
    """Message and hint when a limit of this process or host was met; None for any other error."""
    if error.errno == errno.EMFILE:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"too many open files: this process may open {limit}", "raise it: ulimit -n 1024"
    if error.errno == errno.ENFILE:
        return "too many open files on this host", "raise fs.file-max, or close some"
    if error.errno == errno.ENOMEM:
        return (
            "the kernel has no memory for it",
            "free some, or raise memory.max of the cgroup, ulimit -v and ulimit -l",
        )
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        where = f" for {error.filename}" if error.filename else ""
        return f"no space left{where}", "make room, or use another place"
    return None
