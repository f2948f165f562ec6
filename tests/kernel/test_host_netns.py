# SPDX-License-Identifier: Apache-2.0
"""Which network namespaces there are, and working inside one."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.kernel.kit.namespace import namespace
from tracetw.errors import BadInput
from tracetw.host import netns
from tracetw.host.counters import snapshot
from tracetw.host.netns import Netns
from tracetw.lab.polling import eventually, patient

_DEADLINE_S = 10.0


def test_a_named_namespace_is_found_without_a_process(ns: Netns) -> None:
    assert ns.pid is None
    assert ns.name is not None
    assert netns.resolve(ns.name) == netns.resolve(str(ns.inode)) == netns.resolve(ns.path)
    assert ns.inode != netns.current()


def test_a_process_gives_a_namespace_its_pid() -> None:
    child = subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE)
    try:
        path = Path(f"/proc/{child.pid}/ns/net")
        eventually(lambda: path.stat().st_ino != netns.current())
        inode = path.stat().st_ino
        found = netns.find()[inode]
        assert (found.pid, found.name) == (child.pid, None)
        assert inode in snapshot([inode])
    finally:
        child.communicate(timeout=patient(_DEADLINE_S))
    assert inode not in netns.find()
    assert snapshot([inode]) == {}


def _namespaces_of_threads() -> set[int]:
    inodes = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # it ended meanwhile
            inodes.add((task / "ns/net").stat().st_ino)
    return inodes


def test_only_the_thread_moves_and_nothing_is_pinned() -> None:
    mine = netns.current()
    with namespace() as made:
        with netns.inside(made) as run:
            assert run(netns.current) == made.inode
            assert netns.current() == mine
            with pytest.raises(ZeroDivisionError):
                run(lambda: 1 // 0)
        assert _namespaces_of_threads() == {mine}
    assert made.inode not in netns.find()
    with pytest.raises(FileNotFoundError), netns.inside(made):
        pass
    with pytest.raises(FileNotFoundError), netns.inside(made.inode):
        pass
    with pytest.raises(BadInput):
        netns.resolve(str(made.inode))
