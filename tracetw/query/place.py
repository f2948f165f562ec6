# SPDX-License-Identifier: Apache-2.0
"""The folder of judged recordings: nobody but this user can write to it.

Never beside a recording: its folder may come from anybody, and what lies there may have been made to
be believed, or to be overwritten by root.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SYSTEM = Path("/var/cache")
"""Where root keeps its own, by the FHS."""

MOST_BYTES = 4 << 30
"""Limit of that folder; recordings in use may exceed it."""
_NEW = ".new-"
_OLD_S = 86_400
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# DuckDB takes them for patterns.
_GLOB = frozenset("*?[]{}")


@contextmanager
def place() -> Iterator[tuple[Path, Path]]:
    """The folder to keep results in, and one for files that nobody needs afterwards.

    The first one is as short-lived as the second where this user has no folder of his own. Raises
    OSError when not even that can be made.
    """
    kept = next((folder for base in _bases() if (folder := _private(base))), None)
    with tempfile.TemporaryDirectory(prefix=_NEW, dir=kept) as name:
        short_lived = Path(name)
        yield kept or short_lived, short_lived


def tidy(folder: Path, used: Collection[str]) -> None:
    """Forget what was not used for the longest time until the rest fits, and leftovers of crashes."""
    entries = []
    for entry in folder.iterdir():
        with suppress(OSError):  # another query tidies as well
            age = entry.lstat().st_mtime
            if entry.name.startswith(_NEW):
                if age < time.time() - _OLD_S:
                    _remove(entry)
            else:
                entries.append((entry.name in used, age, entry))
    left = MOST_BYTES
    for in_use, _, entry in sorted(entries, key=lambda one: one[:2], reverse=True):
        left -= _size(entry)
        if left < 0 and not in_use:
            _remove(entry)


def _bases() -> Iterator[Path]:
    """Folders for caches, first that of the XDG base directory specification."""
    with suppress(RuntimeError):  # no home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if os.geteuid() == 0:  # with sudo, HOME may be that of another user
        yield SYSTEM


def _private(base: Path) -> Path | None:
    """A folder of ours below it, with mode 0700; None when it would not be ours alone."""
    folder = base / "tracetw" / "query"
    if not base.is_absolute() or _GLOB & {*os.fspath(folder)}:
        return None
    with suppress(OSError):
        for one in (base, base / "tracetw", folder):
            if not one.exists() and not _safe(one.parent):
                return None
            one.mkdir(mode=0o700, exist_ok=True)
        real = folder.resolve()
        if not _safe(real) or real.stat().st_uid != os.geteuid():
            return None
        real.chmod(0o700)
        if os.access(real, os.W_OK):
            return real
    return None


def _safe(folder: Path) -> bool:
    """Nobody but root and this user can put another folder in its place or write into it."""
    here = folder.resolve()
    for one in (here, *here.parents):
        status = one.lstat()
        sticky = one != here and status.st_mode & stat.S_ISVTX
        if status.st_uid not in {0, os.geteuid()}:
            return False
        if status.st_mode & _OTHERS_WRITE and not sticky:
            return False
    return True


def _size(entry: Path) -> int:
    files = entry.iterdir() if entry.is_dir() else [entry]
    with suppress(OSError):
        return sum(file.lstat().st_size for file in files)
    return 0


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
