# SPDX-License-Identifier: Apache-2.0
"""Owners of sockets, seen on this test's own sockets and children."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tracetw.host.holders import comm, holders, owners_by_inode, process
from tracetw.host.listeners import UNKNOWN, Listeners, listening
from tracetw.host.netns import current
from tracetw.host.pidns import numbered_as_the_kernel

NOW = time.monotonic_ns()
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5001 1
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5002 1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5003 1
   3: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 5004 1
   4: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5005 1
"""


def _inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


@contextmanager
def forked() -> Iterator[int]:
    """A child that holds what this process holds, until the end."""
    gate, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        os.read(gate, 1)
        os._exit(0)
    try:
        yield child
    finally:
        os.close(release)
        os.close(gate)
        os.waitpid(child, 0)


def test_the_owner_of_a_socket_is_its_process() -> None:
    with socket.socket() as mine:
        inode = _inode(mine)
        owner = owners_by_inode({inode: NOW, 1: NOW})[inode]
        assert owner.pid == os.getpid()
        assert owner.comm == comm(os.getpid())
        assert owner.uid == os.geteuid()
    assert owners_by_inode({inode: NOW}) == {}


def test_two_descriptors_of_one_process_are_one_holder() -> None:
    with socket.socket() as mine, mine.dup():
        assert holders([_inode(mine)]) == {_inode(mine): [os.getpid()]}


def test_a_shared_socket_has_no_owner() -> None:
    with socket.socket() as mine, forked() as child:
        assert set(holders([_inode(mine)])[_inode(mine)]) == {os.getpid(), child}
        assert owners_by_inode({_inode(mine): time.monotonic_ns()}) == {}


def test_who_was_born_later_does_not_share_it() -> None:
    with socket.socket() as mine:
        ended = time.monotonic_ns()
        # A process's age is told in hundredths of a second.
        while time.monotonic_ns() < ended + 20_000_000:
            pass
        with forked():
            assert len(holders([_inode(mine)])[_inode(mine)]) == 2
            assert owners_by_inode({_inode(mine): ended})[_inode(mine)].pid == os.getpid()


def test_nothing_wanted_and_nobody_there() -> None:
    assert owners_by_inode({}) == {}
    assert process(2**22 + 1) is None
    assert comm(2**22 + 1) is None


def test_listening_takes_the_listeners_at_the_head() -> None:
    assert listening(TCP.splitlines()) == {8080: {5001, 5002}, 22: {5003}}


def test_the_listener_of_a_port_and_its_cache() -> None:
    listeners = Listeners()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        owner = listeners.owner(current(), port, 0.0)
        assert (owner.pid, owner.comm) == (os.getpid(), comm(os.getpid()))
        with socket.create_server(("127.0.0.1", 0)) as late:
            late_port = late.getsockname()[1]
            assert listeners.owner(current(), late_port, 0.9) == UNKNOWN
            assert listeners.owner(current(), late_port, 1.0).pid == os.getpid()
    assert listeners.owner(current(), port, 1.5).pid == os.getpid()  # still cached
    assert listeners.owner(current(), port, 2.0) == UNKNOWN


def test_a_listener_shared_by_workers_has_a_name_but_no_pid() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, forked():
        owner = Listeners().owner(current(), server.getsockname()[1], 0.0)
        assert (owner.pid, owner.comm) == (None, comm(os.getpid()))
        assert owner.uid == os.geteuid()


def test_a_namespace_that_does_not_exist_has_no_listeners() -> None:
    assert Listeners().owner(1, 80, 0.0) == UNKNOWN


@pytest.mark.parametrize(
    ("stat", "first"),
    [
        (b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0", True),
        (b"2 (kthreadd) S 1 1 1 0 -1 4194304 0 0 0 0 0 0", False),
        (b"2 (a) S 0 0 0 0 -1 2129984) S 1 1 1 0 -1 4194560 0 0", False),
        (b"", False),
        (None, False),
    ],
)
def test_a_kernel_thread_tells_whose_proc_it_is(
    tmp_path: Path, stat: bytes | None, *, first: bool
) -> None:
    if stat is not None:
        tmp_path.joinpath("stat").write_bytes(stat)
    assert numbered_as_the_kernel(tmp_path / "stat") is first


def test_a_name_is_its_bytes() -> None:
    """As the kernel side reads them: one way to cut and to write them comes later."""
    own = Path("/proc/self/comm")
    before = own.read_bytes().removesuffix(b"\n")
    try:
        own.write_bytes(b"\x1b\xff\n\xe4")
        assert comm(os.getpid()) == b"\x1b\xff\n\xe4"
        found = process(os.getpid())
        assert found is not None
        assert (found.comm, found.uid) == (b"\x1b\xff\n\xe4", os.geteuid())
    finally:
        own.write_bytes(before)
