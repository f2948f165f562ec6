# SPDX-License-Identifier: Apache-2.0
"""The kernel's counters of a namespace, and that it counts as the tally believes."""

from __future__ import annotations

import errno
import secrets
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.kit.namespace import connection, ip, namespace
from tracetw.host import counters, netns
from tracetw.host.counters import COUNTERS, snapshot
from tracetw.host.netns import Netns
from tracetw.lab.expect.kernel import TW_AT_BIRTH, shown
from tracetw.lab.net.reaper import note_namespace
from tracetw.lab.polling import eventually, patient

_FIN_WAIT2, _CLOSE = 5, 7


def _state(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def _counts(ns: Netns) -> dict[str, int]:
    """What has been counted in the namespace so far, zeros left out."""
    return {name: value for name, value in snapshot([ns.inode])[ns.inode].items() if value}


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
        expected = {name: n for name, n in expected.items() if name not in ("TW", "TWKilled")}
    with netns.inside(ns) as run:
        play(*connection(run))
    eventually(lambda: sum(_counts(ns).values()) >= sum(expected.values()))
    assert _counts(ns) == expected


def test_overflow_is_counted(ns: Netns) -> None:
    with netns.inside(ns) as run:
        limit = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")
        run(lambda: limit.write_text("0"))
        _four_way(*connection(run))
    eventually(lambda: "TCPTimeWaitOverflow" in _counts(ns))
    assert "TW" not in _counts(ns)


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
            note_namespace(name)
            ip("netns", "add", name)
        inodes = {netns.resolve(name) for name in made}
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            found = snapshot()
            times.append(time.perf_counter() - begun)
            assert inodes <= set(found)
        # An emulated machine tells nothing of speed.
        assert patient(1) > 1 or min(times) < 0.05, f"took {min(times) * 1000:.0f} ms"
    finally:
        for name in made:
            ip("netns", "del", name)


def test_a_snapshot_misses_what_is_gone() -> None:
    with namespace() as made:
        assert made.inode in snapshot()
    assert made.inode not in counters.snapshot()
