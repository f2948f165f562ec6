# SPDX-License-Identifier: Apache-2.0
"""Naming a network namespace, as far as that needs no privileges."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracetw.errors import BadInput
from tracetw.host.netns import ALL, current, find, resolve


def test_our_own_namespace_is_found() -> None:
    mine = find()[current()]
    assert mine.pid is not None
    assert Path(mine.path).stat().st_ino == mine.inode == current()


def test_what_resolves() -> None:
    assert resolve("all") == ALL
    assert resolve(str(current())) == current()
    assert resolve(f"/proc/{os.getpid()}/ns/net") == current()


@pytest.mark.parametrize(
    "text", ["", ".", "..", "no-such-namespace", "1", "-1", "٣", "/proc/self/ns/uts", "/proc/self"]
)
def test_what_does_not(text: str) -> None:
    with pytest.raises(BadInput, match="no network namespace") as caught:
        resolve(text)
    assert repr(text) in caught.value.message
    assert "ip netns list" in caught.value.hint


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(BadInput):
        resolve(str(fifo))
