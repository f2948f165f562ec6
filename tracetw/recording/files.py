# SPDX-License-Identifier: Apache-2.0
"""Files below a folder that anybody may have filled: found in bounded time, opened without waiting.

A name that ends as a recording's does may be a FIFO that nobody writes to, a device, a link to
elsewhere. Only regular files are read; what else bears such a name is reported and passed over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MOST_FILES = 20_000
"""Segments that are read at once."""
_MOST_ENTRIES = 1_000_000
# DIR/kept/TRIGGER/host=NAME/hour=HOUR, and some folders above.
_DEEPEST = 16
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)


class NotRegular(Exception):
    """A file that is none; the message says what it is."""


class TooMany(Exception):
    """More files than tracetw reads at once."""


def open_regular(path: Path, *, follow: bool = False) -> BinaryIO:
    """Open a regular file for reading; never waits.

    ``follow`` symbolic links only for a path that the user named. Raises NotRegular and OSError.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    if not follow:
        flags |= os.O_NOFOLLOW
    status = path.stat() if follow else path.lstat()
    _must_be_regular(status.st_mode)  # opening a device may already do something
    descriptor = os.open(path, flags)
    try:
        _must_be_regular(os.fstat(descriptor).st_mode)  # it may be another file by now
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def below(
    folder: Path, suffix: str | tuple[str, ...], most: int = MOST_FILES
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Entries of any kind whose name ends in ``suffix``, sorted; follows no links.

    Returns them, and folders that were not looked at with the reason. Raises TooMany, and OSError
    when the folder itself cannot be read.
    """
    found: list[Path] = []
    passed: list[tuple[Path, str]] = []
    for number, path in enumerate(_walk(os.fspath(folder), passed)):
        if path.endswith(suffix):
            found.append(Path(path))
        if number >= _MOST_ENTRIES or len(found) > most:
            raise TooMany(
                f"more than {most:,} files of recordings, or too many others, to read at once"
            )
    return sorted(found), passed


def _walk(folder: str, passed: list[tuple[Path, str]]) -> Iterator[str]:
    waiting = [(folder, 0)]
    while waiting:
        here, depth = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    yield entry.path
                    if not entry.is_dir(follow_symlinks=False):
                        continue
                    if depth < _DEEPEST:
                        waiting.append((entry.path, depth + 1))
                    else:
                        passed.append((Path(entry.path), "it is too deep to be looked into"))
        except FileNotFoundError:  # dropped by its recorder meanwhile
            if not depth:
                raise
        except OSError as error:
            if not depth:
                raise
            passed.append((Path(here), f"it cannot be read: {error.strerror}"))


def _must_be_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        name = next((name for test, name in _KINDS if test(mode)), "no regular file")
        raise NotRegular(f"it is {name}, no regular file")
