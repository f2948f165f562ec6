# SPDX-License-Identifier: Apache-2.0
"""Which recorders run on this host, and where they write. Loads nothing that reads recordings."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["recorders"]

_LONGEST = 1 << 16
_OUTPUT = ("-o", "--output")
_BEFORE_NAME = 5  # an interpreter with its options may stand before "tracetw"


def recorders() -> list[Path]:
    """Folders of the ``tracetw record`` that run on this host as root or as this user.

    Whoever may name a process may write a folder, so nobody else's command line is believed.
    """
    found: list[Path] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError, ValueError):
                folder = _folder(process)
                if folder is not None and folder not in found:
                    found.append(folder)
    return found


def _folder(process: Path) -> Path | None:
    if process.stat().st_uid not in {0, os.geteuid()}:
        return None
    if (process / "ns/mnt").stat().st_ino != Path("/proc/self/ns/mnt").stat().st_ino:
        return None  # in a container its path is another one here
    with (process / "cmdline").open("rb") as file:
        words = [os.fsdecode(word) for word in file.read(_LONGEST).split(b"\0")]
    if "record" not in words or not any(
        Path(word).name == "tracetw" for word in words[:_BEFORE_NAME]
    ):
        return None
    words = words[words.index("record") :]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--":
            break
        if word in _OUTPUT and following:
            return Path((process / "cwd").readlink(), following)
        if word.startswith("--output="):
            return Path((process / "cwd").readlink(), word.removeprefix("--output="))
    return None
