# SPDX-License-Identifier: Apache-2.0
"""Sockets of a namespace by sock_diag, and who holds a listener."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tracetw.event.fields import State
from tracetw.host import netns, sockdiag, socktable
from tracetw.host.listeners import Listeners
from tracetw.host.netns import Netns
from tracetw.host.socktable import Sockets
from tracetw.lab.polling import patient

_DEADLINE_S = 10.0


def sockets(ns: Netns, states: int = sockdiag.EVERY_STATE) -> Sockets:
    with netns.inside(ns) as run:
        return run(lambda: socktable.here(ns.inode, states))


def inode(end: socket.socket) -> int:
    return os.fstat(end.fileno()).st_ino


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_sock_diag_sees_both_ends_and_the_listener(ns: Netns, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def listen() -> socket.socket:
        return socket.create_server((address, 0), family=family)

    with netns.inside(ns) as run:
        server = run(listen)
        port = server.getsockname()[1]
        client = run(lambda: socket.create_connection((address, port)))
    with server, client, server.accept()[0] as accepted:
        rows = sockets(ns)
        of = {sock: rows[rows["inode"] == inode(sock)][0] for sock in (server, client, accepted)}
        assert of[server]["state"] == State.LISTEN
        assert socktable.addresses(rows[rows["inode"] == inode(client)], "r") == [address]
        assert of[client]["rport"] == port
        told = [int(of[client][name]) for name in ("family", "state", "uid")]
        assert told == [family, State.ESTABLISHED, os.geteuid()]
        assert of[accepted]["lport"] == port
        assert of[accepted]["rport"] == of[client]["lport"]
        assert {*rows["netns"].tolist()} == {ns.inode}
        assert sockets(ns, 1 << State.LISTEN).tolist() == [of[server].item()]
        # Nobody lives in the namespace, but this process holds its listener.
        assert Listeners().owner(ns.inode, port, 0.0).pid == os.getpid()


def test_sock_diag_of_many_connections(ns: Netns) -> None:
    def connect() -> list[socket.socket]:
        with socket.create_server(("127.0.0.1", 0), backlog=300) as server:
            clients = [socket.create_connection(server.getsockname()) for _ in range(300)]
            return clients + [server.accept()[0] for _ in clients]

    with netns.inside(ns) as run:
        ends = run(connect)
    found = sockets(ns, 1 << State.ESTABLISHED)
    assert {*map(inode, ends)} == {*found["inode"].tolist()}
    for end in ends:
        end.close()


_LISTENER = """
import json, os, sys
from tracetw.host import listeners, privileges
netns, port = map(int, sys.argv[1:])
privileges.drop()
print(json.dumps(listeners.Listeners().owner(netns, port, 0.0).pid))
"""


def test_a_foreign_listener_is_found_without_the_right_to_enter() -> None:
    serve = (
        "import socket; s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); input()"
    )
    command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "-"]
    with subprocess.Popen(
        [*command, sys.executable, "-c", serve],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        inode = Path(f"/proc/{server.pid}/ns/net").stat().st_ino
        done = subprocess.run(
            [sys.executable, "-c", _LISTENER, str(inode), port],
            check=True,
            capture_output=True,
            text=True,
            timeout=patient(30),
        )
        server.communicate("\n", timeout=patient(_DEADLINE_S))
    assert json.loads(done.stdout) == server.pid
