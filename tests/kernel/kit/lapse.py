# SPDX-License-Identifier: Apache-2.0
"""How long the kernel really takes to give a connection up: many of them side by side, each in a namespace.

All that starts processes comes first; then all begin at the same moment. Packets are lost by the mark of the
socket that sends them, which takes one setsockopt(). A connection is over when poll() says so or, of an orphan,
when the kernel's own notice of a destroyed socket comes (SKNLGRP_INET_TCP_DESTROY).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tracetw.lab.polling import patient

__all__ = [
    "Play",
    "Setting",
    "close",
    "connect",
    "fill",
    "idle",
    "orphaned",
    "request",
    "send",
    "start",
]

_PORT = 7000
_NETLINK_SOCK_DIAG, _TCP_DESTROYED = 4, 1 << 0
_CLONE_NEWNET = 0x40000000
_SIOCOUTQNSD = 0x894B  # include/uapi/linux/sockios.h: bytes not sent
_LOST = 7
_RULES = f"""table inet t {{
 chain c {{
  type filter hook prerouting priority -300
  meta mark {_LOST} drop
 }}
}}
"""
_OPTIONS = {
    "TCP_KEEPIDLE": 4,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 6,
    "TCP_LINGER2": 8,
    "TCP_USER_TIMEOUT": 18,
    "TCP_RTO_MAX_MS": 44,
}

Setting: TypeAlias = Mapping[str, int]
"""Sysctls of net.ipv4 by name, and socket options by name."""


class Place(NamedTuple):
    """Where a case plays: what goes when it is over, its socket options, and the start of all."""

    stack: ExitStack
    options: Setting
    ready: Callable[[], object]


Play: TypeAlias = Callable[[Place], float]
"""Does something when all are ready, and returns how long the kernel took, in seconds."""


def start(cases: Iterable[tuple[Play, Setting, int]]) -> list[Future[float]]:
    """Begins all, each in a namespace and a thread of its own; a future has the seconds, or what went wrong.

    The last number of a case is the ``rto_min`` of the route in ms, or 0.
    """
    listed = [*cases]
    barrier = threading.Barrier(len(listed), timeout=patient(60))
    return [_start(barrier, *case) for case in listed]


def _start(
    barrier: threading.Barrier, play: Play, setting: Setting, route_rto_min_ms: int
) -> Future[float]:
    future: Future[float] = Future()

    def work() -> None:
        try:
            _leave()
            if route_rto_min_ms:
                route = [
                    "ip",
                    "route",
                    "replace",
                    "local",
                    "127.0.0.1",
                    "dev",
                    "lo",
                    "table",
                    "local",
                    "rto_min",
                ]
                _run(*route, f"{route_rto_min_ms}ms")
            options = {name: value for name, value in setting.items() if name.isupper()}
            for name in setting.keys() - options.keys():
                Path("/proc/sys/net/ipv4", name).write_text(f"{setting[name]}\n")
            with ExitStack() as stack:
                future.set_result(play(Place(stack, options, barrier.wait)))
        except BaseException as error:  # noqa: BLE001  raised again by the future
            future.set_exception(error)
            barrier.abort()

    threading.Thread(target=work, name="lapse", daemon=True).start()
    return future


def _leave() -> None:
    """The calling thread is in a namespace of its own, which goes with its last socket."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    _run("ip", "link", "set", "lo", "up")
    _run("nft", "-f", "-", text=_RULES)


def send(place: Place) -> float:
    """Data that nobody acknowledges."""
    client, server = _pair(place)
    place.ready()
    _lose(client, server)
    begun = time.monotonic()
    client.send(b"hello")
    return _until_timed_out(client, begun)


def close(place: Place) -> float:
    """A FIN that nobody acknowledges."""
    client, server = _pair(place)
    with _destroyed() as wait:
        place.ready()
        _lose(client, server)
        begun = time.monotonic()
        client.close()
        return wait() - begun


def fill(place: Place, *, answers: bool, closes: bool) -> float:
    """A window that the peer keeps closed, from the moment at which it closes."""
    client, server = _pair(place, receive=4096)
    client.setblocking(False)
    with _destroyed() as wait:
        place.ready()
        with suppress(BlockingIOError):
            while True:
                client.send(bytes(4096))
        while _bytes(client, termios.TIOCOUTQ) > _bytes(client, _SIOCOUTQNSD):
            time.sleep(0.001)  # something is under way
        begun = time.monotonic()
        if not answers:
            _lose(client, server)
        if not closes:
            return _until_timed_out(client, begun)
        client.close()
        return wait() - begun


def idle(place: Place) -> float:
    """An idle connection with SO_KEEPALIVE, to a peer that is gone since it was last heard of."""
    client, server = _pair(place)
    place.ready()
    server.send(b"hello")
    client.recv(5)
    _lose(client, server)
    begun = time.monotonic()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return _until_timed_out(client, begun)


def connect(place: Place) -> float:
    """A SYN that nobody answers."""
    client = place.stack.enter_context(socket.socket())
    _set(client, place.options)
    _lose(client)
    place.ready()
    begun = time.monotonic()
    with suppress(TimeoutError):
        client.connect(("127.0.0.1", _PORT))
    return time.monotonic() - begun


def request(place: Place) -> float:
    """A SYN+ACK that nobody acknowledges, after one SYN."""
    server = place.stack.enter_context(socket.create_server(("127.0.0.1", _PORT), backlog=16))
    client = place.stack.enter_context(socket.socket())
    client.setblocking(False)
    _lose(server)
    place.ready()
    begun = time.monotonic()
    with suppress(BlockingIOError):
        client.connect(server.getsockname())
    _lose(client)  # the SYN again
    while any(row[3] == "03" and row[1].endswith(f":{_PORT:04X}") for row in _rows()):
        time.sleep(0.02)
    return time.monotonic() - begun


def orphaned(place: Place) -> float:
    """An orphan in FIN_WAIT2 whose peer does not close: a timewait socket, whose end has no notice."""
    client, _ = _pair(place)
    name = f":{client.getsockname()[1]:04X}"
    place.ready()
    begun = time.monotonic()
    client.close()
    while any(row[1].endswith(name) for row in _rows()):
        time.sleep(0.02)
    return time.monotonic() - begun


def _pair(place: Place, receive: int = 0) -> tuple[socket.socket, socket.socket]:
    server = place.stack.enter_context(socket.socket())
    if receive:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    server.bind(("127.0.0.1", _PORT))
    server.listen()
    client = place.stack.enter_context(socket.create_connection(server.getsockname()))
    _set(client, place.options)
    return client, place.stack.enter_context(server.accept()[0])


def _set(client: socket.socket, options: Setting) -> None:
    for name, value in options.items():
        client.setsockopt(socket.IPPROTO_TCP, _OPTIONS[name], value)


def _lose(*senders: socket.socket) -> None:
    """What they send is lost from now on, where it arrives: lost where it leaves it would not count as sent."""
    for sender in senders:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _LOST)


def _bytes(sock: socket.socket, question: int) -> int:
    """Bytes in its send queue."""
    answer = fcntl.ioctl(sock, question, struct.pack("=i", 0))
    return int.from_bytes(answer, "little")


def _until_timed_out(client: socket.socket, begun: float) -> float:
    poll = select.poll()
    poll.register(client, 0)
    assert poll.poll(patient(400) * 1000), "it is still there"
    over = time.monotonic()
    error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert error == errno.ETIMEDOUT, os.strerror(error)
    return over - begun


@contextmanager
def _destroyed() -> Iterator[Callable[[], float]]:
    """Gives a function that waits until the kernel destroys a TCP socket of this namespace, and says when."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as notices:
        notices.bind((0, _TCP_DESTROYED))
        notices.settimeout(patient(400))

        def wait() -> float:
            notices.recv(4096)
            return time.monotonic()

        yield wait


def _rows() -> list[list[str]]:
    lines = Path("/proc/thread-self/net/tcp").read_text(encoding="ascii").splitlines()
    return [line.split() for line in lines[1:]]


def _run(*argv: str, text: str = "") -> None:
    subprocess.run(
        argv, input=text, text=True, check=True, capture_output=True, timeout=patient(30)
    )
