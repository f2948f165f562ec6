# SPDX-License-Identifier: Apache-2.0
"""Compiled images kept from one start to the next.

What goes into the kernel must not come from somebody else: the folder belongs to the user who
traces and nobody else may write to it. An entry is found by the digest of everything that the
compiler sees; one that is damaged is compiled again. No folder, no cache, no complaint.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from pathlib import Path

from tracetw import __version__
from tracetw.kernel.load.image import Image, hashed

_KEEP = 16


class Cache:
    """Images by what they were compiled from.

    Args:
        folder: where; None takes ``/var/cache/tracetw``, or the user's cache folder without root.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or _default()

    def _entry(self, source: str, flags: list[str]) -> Path:
        # Pages are a size in the image, and two kernels of a machine may have others.
        here = [os.uname().machine, str(mmap.PAGESIZE)]
        text = "\0".join([__version__, *here, *flags, source])
        return self._folder / f"{hashed(text)}.json"

    def get(self, source: str, flags: list[str]) -> Image | None:
        """The image that these sources gave before; None when it must be compiled."""
        path = self._entry(source, flags)
        try:
            for part in (self._folder, path):
                status = part.lstat()
                writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
                if status.st_uid != os.geteuid() or writable or stat.S_ISLNK(status.st_mode):
                    return None
            return Image.parse(path.read_bytes())
        except (OSError, ValueError):
            return None

    def put(self, source: str, flags: list[str], image: Image) -> None:
        """Keep an image; the oldest ones go."""
        import tempfile  # noqa: PLC0415  only after a compilation; it loads three compressors

        path = self._entry(source, flags)
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                fresh = Path(folder, "image")
                fresh.write_bytes(image.dump())
                fresh.rename(path)
            entries = sorted(self._folder.glob("*.json"), key=lambda entry: entry.stat().st_mtime)
            for entry in entries[:-_KEEP]:
                entry.unlink()


def _default() -> Path:
    if os.geteuid() == 0:
        return Path("/var/cache/tracetw")
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "tracetw"
