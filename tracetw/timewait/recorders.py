# SPDX-License-Identifier: Apache-2.0
"""Which recorders run on this host, and where they write. Loads nothing that reads recordings."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_LONGEST = 1 << 16
_OUTPUT = ("-o", "--output")
_JOINED = ("--output=", "-o")  # with the folder in the same word
_SETS_ID = stat.S_ISUID | stat.S_ISGID
_BEFORE_NAME = 5  # an interpreter with its options may stand before "tracetw"


def recorders() -> list[Path]:
    """Folders of the ``tracetw record`` that this user runs on this host.

    Whoever starts a process chooses its command line, so nobody else's is believed: not that of a setuid
    program either, which runs as one user with the words of another.
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
    if not _ours(process):
        return None
    if (process / "ns/mnt").stat().st_ino != Path("/proc/self/ns/mnt").stat().st_ino:
        return None  # in a container its path is another one here
    with (process / "cmdline").open("rb") as file:
        words = [os.fsdecode(word) for word in file.read(_LONGEST).split(b"\0")]
    folder = _output(words)
    return None if folder is None else Path((process / "cwd").readlink(), folder)


def _ours(process: Path) -> bool:
    """Did this user start it? The real, effective, saved and file system uid have to be ours."""
    text = (process / "status").read_text(encoding="utf-8", errors="replace")
    uids = [line.split()[1:] for line in text.splitlines() if line.startswith("Uid:")]
    # A setuid program may take over all four, as sudo does before it asks for the password.
    sets_id = (process / "exe").stat().st_mode & _SETS_ID
    return uids == [[str(os.geteuid())] * 4] and not sets_id


def _output(words: list[str]) -> str | None:
    """The folder of ``tracetw record``; None for any other command line."""
    names = [Path(word).name for word in words[:_BEFORE_NAME]]
    if "tracetw" not in names:
        return None
    command, *options = words[names.index("tracetw") + 1 :] or [""]
    if command != "record":
        return None
    for word, following in zip(options, [*options[1:], ""], strict=True):
        if word == "--":
            break
        if word in _OUTPUT:
            return following or None
        for joined in _JOINED:
            if word.startswith(joined):
                return word.removeprefix(joined) or None
    return None
