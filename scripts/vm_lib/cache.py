# SPDX-License-Identifier: Apache-2.0
"""What is kept between runs, outside of every checkout: kernels, roots, compiled images, the accelerator."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["folder", "locked", "point", "say"]


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
