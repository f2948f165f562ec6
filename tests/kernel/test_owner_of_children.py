# SPDX-License-Identifier: Apache-2.0
"""Sockets that somebody closes for their owner: a child on its way to another program, a kernel thread."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.benchmark.namespace import storm_host
from tests.kernel.kit.reader import Reader, attached
from tracetw.event.record import Owner
from tracetw.kernel.btf import Btf
from tracetw.lab.polling import patient

pytestmark = pytest.mark.timeout(120)

CONNECTIONS = 600 // round(patient(1))
MPTCP = Path("/proc/sys/net/mptcp/enabled")

# Threads start programs all the time: each child holds every socket for a moment.
SERVER = """
import os, socket, subprocess, sys, threading, time
how, connections = sys.argv[1], int(sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
done = False

def start():
    while not done:
        if how == "subprocess":
            subprocess.run(["/bin/true"])
            continue
        if how == "spawn":
            child = os.posix_spawn("/bin/true", ["true"], {})
        else:
            child = os.fork()
            if not child:
                os.execv("/bin/true", ["true"])
        os.waitpid(child, 0)

threads = [threading.Thread(target=start) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(connections):
    client = socket.create_connection(listener.getsockname())
    accepted = listener.accept()[0]
    accepted.close()
    client.close()
done = True
for thread in threads:
    thread.join()
time.sleep(0.5)  # the last FIN may wait for a delayed ACK
print(os.getpid())
"""
JOIN = """
import os, socket, subprocess, time

def run(*command):
    subprocess.run(command, check=True)

run("ip", "mptcp", "limits", "set", "subflows", "2", "add_addr_accepted", "2")
run("ip", "mptcp", "endpoint", "add", "127.0.0.2", "dev", "lo", "subflow")
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
listener.bind(("127.0.0.1", 0))
listener.listen()
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
client.connect(listener.getsockname())
accepted = listener.accept()[0]
for one, other in ((client, accepted), (accepted, client)):
    one.send(b"x")
    other.recv(1)
for _ in range(100):
    states = subprocess.run(["ss", "-Htn", "src", "127.0.0.2"], capture_output=True, text=True)
    if "ESTAB" in states.stdout:
        break
    time.sleep(0.1)
client.close()
accepted.close()
time.sleep(0.5)
print(os.getpid())
"""


def traced(code: str, *arguments: object) -> tuple[int, NDArray[Any]]:
    """The process number of a program in a namespace of its own, and what ended there."""
    with storm_host() as namespace, attached() as session:
        reader = Reader(session, namespace.netns)
        command = namespace.inside([sys.executable, "-c", code, *map(str, arguments)])
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                reader.ring()
                time.sleep(0.02)
            assert process.stdout
            pid = int(process.stdout.read())
        return pid, reader.finish()


@pytest.mark.parametrize("how", ["subprocess", "spawn", "fork"])
def test_a_child_on_its_way_to_another_program_is_not_the_owner(how: str) -> None:
    if how != "subprocess" and Btf.read().function("bpf_rdonly_cast") is None:
        pytest.skip("where a program begins is read by bpf_rdonly_cast: this kernel lacks it")
    pid, rows = traced(SERVER, how, CONNECTIONS)
    assert len(rows) == 2 * CONNECTIONS
    assert set(rows["pid"].tolist()) == {pid}
    assert len(set(rows["comm"].tolist())) == 1
    assert np.isin(rows["owner_from"], (Owner.CLOSE, Owner.CONNECT)).all()


@pytest.mark.skipif(not MPTCP.exists(), reason=f"this kernel has no MPTCP: no {MPTCP}")
def test_a_kernel_thread_that_connects_is_not_the_owner() -> None:
    pid, rows = traced(JOIN)
    joined = rows[rows["laddr"][:, 3] == 2]
    assert len(joined)
    # It is the subflow of a connection that the application opened, and closed: that one tells.
    assert np.isin(joined["pid"], (0, pid)).all()
    assert (joined["comm"][joined["pid"] == 0] == b"").all()
    first = rows[rows["owner_from"] == Owner.CONNECT]
    assert set(first["pid"].tolist()) <= {pid}
    assert (first["comm"] != b"").all()
    assert set(rows["pid"].tolist()) <= {0, pid}


# The child is the last that holds the socket, closes it by hand, and then serves or runs another program.
CLOSED_BY_HAND = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
accepted = listener.accept()[0]
released, release = os.pipe()
child = os.fork()
if not child:
    os.read(released, 1)
    client.close()
    accepted.close()
    if sys.argv[1] == "exec":
        os.execv("/bin/true", ["true"])
    os._exit(0)
client.close()
accepted.close()
os.write(release, b"1")
print(child, flush=True)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("how", ["serve", "exec"])
def test_a_child_that_closes_by_hand_is_the_owner_whatever_it_does_next(how: str) -> None:
    """When it closes, nothing in the kernel tells a child that serves from one that calls execve() later."""
    pid, rows = traced(CLOSED_BY_HAND, how)
    assert len(rows) == 2
    closed = rows[rows["owner_from"] == Owner.CLOSE]
    assert set(closed["pid"].tolist()) == {pid}
