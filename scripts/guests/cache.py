# SPDX-License-Identifier: Apache-2.0
"""The cache, outside of every checkout: kernels, roots, compiled images, the accelerator."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def say(text: str) -> None:
    """Tell the user, beside the output of the guest."""
    print(f"vm: {text}", file=sys.stderr, flush=True)


def folder(*parts: str) -> Path:
    """A folder of the cache, made when it is not there; nobody else may write to it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    path = Path(base if base.startswith("/") else "/var/cache", "tracetw-vm", *parts)
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Only one process at a time prepares what is in this folder; the others wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that prepares {what}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def point(link: Path, folder: Path) -> None:
    """Make a symbolic link to a folder beside it, or make it point there, at one instant."""
    fresh = link.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.name)
    fresh.rename(link)


def tidy(shelf: Path, kept: int) -> None:
    """Remove what a killed run has left, and all but the newest folders; the current one stays.

    Keeps more than one, since a guest may still use the one before. Call it with the shelf locked.
    """
    for unfinished in shelf.glob(".new-*"):
        shutil.rmtree(unfinished)
    folders = [path for path in shelf.iterdir() if path.is_dir() and not path.is_symlink()]
    folders.sort(key=lambda path: path.stat().st_mtime)
    link = shelf / "current"
    current = link.readlink().name if link.is_symlink() else ""
    for old in folders[:-kept]:
        if old.name != current:
            shutil.rmtree(old)
