# SPDX-License-Identifier: Apache-2.0
"""Whose command line is believed to be a recorder's, and which folder it names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracetw.timewait import recorders

ME = os.geteuid()


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ("tracetw record -o /x", "/x"),
        ("/usr/bin/python3 /opt/bin/tracetw record --ready-fd 3 --output /x", "/x"),
        ("python3 -I -m tracetw record --output=/x", "/x"),
        ("python3 -I -m tracetw record -o/x", "/x"),
        ("tracetw record -- -o /x", None),
        ("tracetw record -o", None),
        ("tracetw trace --comm record -o json", None),
        ("tracetw", None),
        ("su -- root record -o /x", None),
        ("tracetw su -- root record -o /x", None),
    ],
)
def test_command_lines(words: str, folder: str | None) -> None:
    assert recorders._output(words.split()) == folder


def process(place: Path, uids: tuple[int, ...], mode: int = 0o755) -> Path:
    (place / "ns").mkdir()
    (place / "ns/mnt").symlink_to("/proc/self/ns/mnt")
    (place / "exe").touch()
    (place / "exe").chmod(mode)
    (place / "cwd").symlink_to("/srv")
    (place / "status").write_text("Name:\tx\nUid:\t" + "\t".join(map(str, uids)) + "\n")
    (place / "cmdline").write_bytes(b"tracetw\0record\0-o\0tape\0")
    return place


def test_our_own(tmp_path: Path) -> None:
    assert recorders._folder(process(tmp_path, (ME,) * 4)) == Path("/srv/tape")


@pytest.mark.parametrize("other", range(4))
def test_a_setuid_program_is_not_ours(tmp_path: Path, other: int) -> None:
    uids = [ME] * 4
    uids[other] = ME + 1000
    assert recorders._folder(process(tmp_path, tuple(uids))) is None


def test_nor_is_one_that_took_over_all_uids(tmp_path: Path) -> None:
    assert recorders._folder(process(tmp_path, (ME,) * 4, 0o4755)) is None
