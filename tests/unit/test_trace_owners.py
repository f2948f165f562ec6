# SPDX-License-Identifier: Apache-2.0
"""Owners found from outside: a child process that holds a socket, and this process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tracetw.event.record import CLOSE, F_DEAD, F_SERVER, F_SOCKET, End, Owner
from tracetw.host.listeners import Listeners
from tracetw.live.owners import resolve

HOLDER = """
import socket, sys
held = socket.socket(fileno=int(sys.argv[1]))
print(open("/proc/self/comm").read().strip(), flush=True)
sys.stdin.read()
"""
NETNS = Path("/proc/self/ns/net").stat().st_ino


class Holder:
    """A child that holds a socket which nobody else has."""

    def __init__(self) -> None:
        with socket.socket() as made:
            self.inode = os.fstat(made.fileno()).st_ino
            self.process = subprocess.Popen(
                [sys.executable, "-S", "-c", HOLDER, str(made.fileno())],
                pass_fds=[made.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert self.process.stdout is not None
            self.comm = self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate(timeout=10)


@pytest.fixture(scope="module")
def holder() -> Iterator[Holder]:
    made = Holder()
    yield made
    made.end()


def rows(*each: dict[str, Any]) -> NDArray[Any]:
    made = np.zeros(len(each), CLOSE)
    made["netns"] = NETNS
    for at, values in enumerate(each):
        for name, value in values.items():
            made[name][at] = value
    return made


def told(found: NDArray[Any]) -> list[tuple[int, bytes, int]]:
    return [(int(row["pid"]), bytes(row["comm"]), int(row["owner_from"])) for row in found]


def pending(inode: int, **more: Any) -> dict[str, Any]:
    return {"end": End.PENDING, "flags": F_SOCKET, "inode": inode} | more


def test_the_process_that_holds_the_socket(holder: Holder) -> None:
    found = resolve(rows(pending(holder.inode)), Listeners())
    assert told(found) == [(holder.process.pid, holder.comm, Owner.DIAG)]


def test_what_connect_told_gives_way_to_who_holds_it_now(holder: Holder) -> None:
    row = pending(holder.inode, pid=1, owner_from=Owner.CONNECT)
    assert told(resolve(rows(row), Listeners()))[0][0] == holder.process.pid


def test_a_socket_that_nobody_holds_has_no_owner() -> None:
    row = pending(0xFFFFFFF0, pid=1, owner_from=Owner.CONNECT)
    assert told(resolve(rows(row), Listeners())) == [(0, b"", Owner.NONE)]


def test_a_socket_of_two_processes_has_no_owner(holder: Holder) -> None:
    with socket.socket() as shared:
        inode = os.fstat(shared.fileno()).st_ino
        other = subprocess.Popen(
            [sys.executable, "-S", "-c", HOLDER, str(shared.fileno())],
            pass_fds=[shared.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert other.stdout is not None
        other.stdout.readline()
        found = resolve(rows(pending(inode), pending(holder.inode)), Listeners())
        other.communicate(timeout=10)
    assert told(found)[0] == (0, b"", Owner.NONE)
    assert told(found)[1][0] == holder.process.pid


def test_a_connection_not_yet_accepted_belongs_to_the_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        row = {"end": End.PENDING, "flags": F_SERVER, "lport": port}
        found = told(resolve(rows(row), Listeners()))
    comm = Path("/proc/self/comm").read_bytes().strip()[:15]
    assert found == [(os.getpid(), comm, Owner.LISTENER)]


def test_an_orphan_has_nobody_to_look_for(holder: Holder) -> None:
    row = pending(holder.inode, flags=F_DEAD, pid=7, comm=b"x", owner_from=Owner.NONE)
    assert told(resolve(rows(row), Listeners())) == [(7, b"x", Owner.NONE)]


def test_who_connected_keeps_the_name_it_had(holder: Holder) -> None:
    """Its number may be another process's by now: nobody is asked for the name."""
    row = {"end": End.DESTROY, "pid": holder.process.pid, "comm": b"old", "owner_from": 1}
    made = rows(row)
    assert told(resolve(made, Listeners())) == [(holder.process.pid, b"old", Owner.CONNECT)]


def test_the_kernels_own_socket_is_not_looked_for(holder: Holder) -> None:
    row = pending(holder.inode, owner_from=Owner.KERNEL)
    assert told(resolve(rows(row), Listeners())) == [(0, b"", Owner.KERNEL)]


def test_what_found_no_room_to_wait_is_looked_for_too(holder: Holder) -> None:
    row = pending(holder.inode, end=End.FULL)
    assert told(resolve(rows(row), Listeners()))[0][0] == holder.process.pid
    row = pending(holder.inode, end=End.FULL, pid=7, comm=b"x", owner_from=Owner.CLOSE)
    assert told(resolve(rows(row), Listeners())) == [(7, b"x", Owner.CLOSE)]


def test_the_cgroup_of_another_process_is_not_kept(holder: Holder) -> None:
    row = pending(holder.inode, pid=1, cgroup=5, owner_from=Owner.CONNECT)
    assert resolve(rows(row), Listeners())["cgroup"].tolist() == [0]


def test_what_the_kernel_told_stays_and_is_not_copied() -> None:
    made = rows({"pid": 5, "comm": b"nginx", "owner_from": Owner.CLOSE})
    made.flags.writeable = False
    assert resolve(made, Listeners()) is made


def test_records_in_the_ring_are_not_written_to(holder: Holder) -> None:
    made = rows(pending(holder.inode), {"owner_from": Owner.CLOSE})
    made.flags.writeable = False
    found = resolve(made, Listeners())
    assert bytes(made["comm"][0]) == b""
    assert bytes(found["comm"][0])


def test_a_name_beyond_ascii_is_cut_to_whole_bytes() -> None:
    name = "näme-lang-über-15"
    with socket.socket() as made:
        fd, inode = made.fileno(), os.fstat(made.fileno()).st_ino
        code = (
            f"import ctypes;ctypes.CDLL(None).prctl(15,{name.encode()!r},0,0,0);"
            "print(flush=True);input()"
        )
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[fd],
        )
    assert child.stdout is not None
    child.stdout.readline()
    found = resolve(rows(pending(inode)), Listeners())
    child.communicate(b"\n", timeout=10)
    assert bytes(found["comm"][0]) == name.encode()[:15]
