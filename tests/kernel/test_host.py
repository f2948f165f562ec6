# SPDX-License-Identifier: Apache-2.0
"""The host's facts in throw-away network namespaces (root)."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tracetw.errors import BadInput
from tracetw.host import counters, netns, sockdiag
from tracetw.host.counters import COUNTERS, snapshot
from tracetw.host.listeners import Listeners
from tracetw.host.netns import Netns, Runner
from tracetw.host.privileges import ENTER_NAMESPACES, READ_PROCESSES
from tracetw.lab.polling import eventually, patient
from tracetw.lab.shows import TW_AT_BIRTH, shown

pytestmark = pytest.mark.kernel

_DEADLINE_S = 10.0
_FIN_WAIT2, _CLOSE = 5, 7
_Pair = tuple[socket.socket, socket.socket]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=patient(30))


@contextmanager
def _namespace() -> Iterator[Netns]:
    name = f"tracetw-{secrets.token_hex(4)}"
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield netns.find()[netns.resolve(name)]
    finally:
        _ip("netns", "del", name)


@pytest.fixture
def ns() -> Iterator[Netns]:
    with _namespace() as made:
        yield made


def _connection(run: Runner) -> _Pair:
    """Two ends of a loopback connection inside the namespace."""

    def connect() -> _Pair:
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            return client, server.accept()[0]

    return run(connect)


def _state(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def _counts(ns: Netns) -> dict[str, int]:
    """What has been counted in the namespace so far, zeros left out."""
    return {name: value for name, value in snapshot([ns.inode])[ns.inode].items() if value}


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
    with _namespace() as made:
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


def test_counters_of_a_new_namespace_begin_at_zero(ns: Netns) -> None:
    values = snapshot([ns.inode])[ns.inode]
    assert set(values) <= set(COUNTERS)
    assert {"TCPAbortOnData", "EstabResets", "OutRsts", "TW"} <= set(values)
    assert not any(values.values())


def _linger0(client: socket.socket, server: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    server.close()


def _unread(client: socket.socket, server: socket.socket) -> None:
    server.sendall(b"x")
    client.recv(1, socket.MSG_PEEK)
    client.close()
    server.close()


def _late_data_full_socket(client: socket.socket, server: socket.socket) -> None:
    client.shutdown(socket.SHUT_RDWR)
    server.sendall(b"x")
    client.close()
    server.close()


def _late_data_with_the_ack(client: socket.socket, server: socket.socket) -> None:
    client.close()
    server.recv(1)
    server.sendall(b"x")  # the delayed ACK of the FIN leaves with it
    server.close()


def _late_data_mini_socket(client: socket.socket, server: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)
    eventually(lambda: _state(client) == _FIN_WAIT2)
    client.close()
    server.sendall(b"x")
    server.close()


def _linger2_in_close(client: socket.socket, server: socket.socket) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, -1)
    client.shutdown(socket.SHUT_WR)
    server.recv(1)
    eventually(lambda: _state(client) == _FIN_WAIT2)  # the FIN's ACK is delayed
    client.close()
    server.close()


def _linger2_at_ack(client: socket.socket, server: socket.socket) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, -1)
    client.close()
    with server:
        eventually(lambda: _state(server) == _CLOSE)


def _four_way(client: socket.socket, server: socket.socket) -> None:
    client.close()
    server.recv(1)
    server.close()


def _four_way_short(client: socket.socket, server: socket.socket) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 2)
    client.shutdown(socket.SHUT_WR)
    server.recv(1)
    eventually(lambda: _state(client) == _FIN_WAIT2)
    client.close()
    server.close()


@pytest.mark.parametrize(
    ("play", "expected"),
    [
        (_linger0, {"TCPAbortOnData": 1, "EstabResets": 2, "OutRsts": 1}),
        (_unread, {"TCPAbortOnClose": 1, "EstabResets": 2, "OutRsts": 1}),
        (_late_data_full_socket, {"TCPAbortOnData": 1, "EstabResets": 1, "OutRsts": 1}),
        (_late_data_with_the_ack, {"TCPAbortOnData": 1, "EstabResets": 1, "OutRsts": 1}),
        (_late_data_mini_socket, {"TW": 1, "EstabResets": 1, "OutRsts": 1}),
        (_linger2_in_close, {"TCPAbortOnLinger": 1, "EstabResets": 1, "OutRsts": 1}),
        (_linger2_at_ack, {"TCPAbortOnData": 1, "EstabResets": 1, "OutRsts": 1}),
        (_four_way, {"TW": 1}),
        (_four_way_short, {"TWKilled": 1}),
    ],
)
def test_the_kernel_counts_as_the_tally_believes(
    ns: Netns, play: Callable[[socket.socket, socket.socket], None], expected: dict[str, int]
) -> None:
    if TW_AT_BIRTH not in shown():  # then after 60 s, or never
        expected = {name: value for name, value in expected.items() if name != "TW"}
    with netns.inside(ns) as run:
        play(*_connection(run))
    eventually(lambda: sum(_counts(ns).values()) >= sum(expected.values()))
    assert _counts(ns) == expected


def test_overflow_is_counted(ns: Netns) -> None:
    with netns.inside(ns) as run:
        limit = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")
        run(lambda: limit.write_text("0"))
        _four_way(*_connection(run))
    eventually(lambda: "TCPTimeWaitOverflow" in _counts(ns))
    assert "TW" not in _counts(ns)


@pytest.fixture
def silent(ns: Netns) -> tuple[str, int]:
    """An address that is resolved, behind a link whose other end takes no packet up."""
    name = str(ns.name)
    _ip("-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    for link in ("v0", "v1"):
        _ip("-n", name, "link", "set", link, "up")
    _ip("-n", name, "addr", "add", "198.51.100.1/24", "dev", "v0")
    _ip("-n", name, "neigh", "add", "198.51.100.2", "lladdr", "02:00:00:00:00:02", "dev", "v0")
    return "198.51.100.2", 80


def test_a_connection_attempt_that_times_out_is_counted(ns: Netns, silent: tuple[str, int]) -> None:
    def attempt() -> int:
        with socket.socket() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500)
            return sock.connect_ex(silent)

    with netns.inside(ns) as run:
        assert run(attempt) == errno.ETIMEDOUT
    assert _counts(ns) == {"TCPAbortOnTimeout": 1}


def test_closing_while_connecting_with_linger_0_is_counted(
    ns: Netns, silent: tuple[str, int]
) -> None:
    def attempt() -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert sock.connect_ex(silent) == errno.EINPROGRESS

    with netns.inside(ns) as run:
        run(attempt)
    assert _counts(ns) == {"TCPAbortOnData": 1}


def test_fifty_namespaces_are_read_fast() -> None:
    made = [f"tracetw-{secrets.token_hex(4)}" for _ in range(50)]
    try:
        for name in made:
            _ip("netns", "add", name)
        inodes = {netns.resolve(name) for name in made}
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            found = snapshot()
            times.append(time.perf_counter() - begun)
            assert inodes <= set(found)
        assert min(times) < 0.05, f"took {min(times) * 1000:.0f} ms"
    finally:
        for name in made:
            _ip("netns", "del", name)


def test_a_snapshot_misses_what_is_gone() -> None:
    with _namespace() as made:
        assert made.inode in snapshot()
    assert made.inode not in counters.snapshot()


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
        found = {each.inode: each for each in sockdiag.sockets(ns)}
        of = {sock: found[os.fstat(sock.fileno()).st_ino] for sock in (server, client, accepted)}
        assert of[server].listens
        assert (of[client].remote, of[client].remote_port) == (address, port)
        assert (of[client].family, of[client].state, of[client].uid) == (family, 1, os.geteuid())
        assert of[accepted].local_port == port
        assert of[accepted].remote_port == of[client].local_port
        role = sockdiag.roles(found.values())
        assert (role(of[accepted]), role(of[client])) == ("server", None)
        assert {each.netns for each in found.values()} == {ns.inode}
        assert sockdiag.sockets(ns, [10]) == [of[server]]
        # Nobody lives in the namespace, but this process holds its listener.
        assert Listeners().owner(ns.inode, port, 0.0).pid == os.getpid()


def test_sock_diag_of_many_connections(ns: Netns) -> None:
    def connect() -> list[socket.socket]:
        with socket.create_server(("127.0.0.1", 0), backlog=300) as server:
            clients = [socket.create_connection(server.getsockname()) for _ in range(300)]
            return clients + [server.accept()[0] for _ in clients]

    with netns.inside(ns) as run:
        ends = run(connect)
    inodes = {os.fstat(end.fileno()).st_ino for end in ends}
    assert inodes == {each.inode for each in sockdiag.sockets(ns, [1])}
    for end in ends:
        end.close()


_LISTENER = """
import json, os, sys
from tracetw.host import listeners, privileges
netns, port = map(int, sys.argv[1:])
privileges.drop()
print(json.dumps(listeners.Listeners().owner(netns, port, 0.0)))
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
    assert json.loads(done.stdout)[0] == server.pid


_DROP = """
import json, os, sys
from tracetw.host import privileges, process
other = int(sys.argv[1])
before = privileges.held()
after = privileges.drop(*json.loads(sys.argv[2]))
readable = True
try:
    os.readlink(f"/proc/{other}/fd/0"), os.stat(f"/proc/{other}/ns/net")
except OSError:
    readable = False
print(json.dumps([sorted(before), sorted(after), sorted(privileges.held()), readable,
                  open("/proc/self/status").read(), os.getuid()]))
"""


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ([], READ_PROCESSES),
        ([sorted(READ_PROCESSES | ENTER_NAMESPACES)], READ_PROCESSES | ENTER_NAMESPACES),
        ([[]], set()),
    ],
)
def test_drop_keeps_what_was_asked_and_nothing_else(
    arguments: list[list[str]], kept: set[str]
) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=65534, group=65534) as other:
        done = subprocess.run(
            [sys.executable, "-c", _DROP, str(other.pid), json.dumps(arguments)],
            check=True,
            capture_output=True,
            text=True,
            timeout=patient(30),
        )
        other.communicate(timeout=patient(_DEADLINE_S))
    before, after, held, readable, status, uid = json.loads(done.stdout)
    assert set(after) == set(held) == kept
    assert kept < set(before)
    assert uid == 0
    assert readable == bool(kept)
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert lines["NoNewPrivs"] == "1"
    assert lines["CapEff"] == lines["CapPrm"] == lines["CapBnd"]
    assert int(lines["CapInh"], 16) == int(lines["CapAmb"], 16) == 0
