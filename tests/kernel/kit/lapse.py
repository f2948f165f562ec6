# SPDX-License-Identifier: Apache-2.0
"""How long the kernel really takes to give a connection up: many of them side by side, each in a namespace.

A connection is over when poll() says so or, of an orphan, when the kernel's own notice of a destroyed socket
comes (SKNLGRP_INET_TCP_DESTROY): nothing here looks again and again while others measure.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tracetw.lab.polling import patient

__all__ = [
    "Measured",
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
_TO_SERVER, _TO_CLIENT = "tcp dport 7000 drop", "tcp sport 7000 drop"
_ZERO_WINDOW = "04"  # ``tr`` of /proc/net/tcp
_OPTIONS = {"TCP_LINGER2": 8, "TCP_USER_TIMEOUT": 18, "TCP_RTO_MAX_MS": 44}
_KEEPALIVE = {"TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6}

Measured = Callable[[ExitStack, Mapping[str, int]], float]
"""Does something with the options given, and returns how long the kernel took, in seconds."""
Setting = Mapping[str, int]
"""Sysctls of net.ipv4 by name, and socket options by name."""


def start(measure: Measured, setting: Setting, route_rto_min_ms: int = 0) -> Future[float]:
    """Begins in a namespace and a thread of its own; the future has the seconds, or what went wrong."""
    future: Future[float] = Future()

    def work() -> None:
        try:
            _leave()
            if route_rto_min_ms:
                _run(
                    *[
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
                    ],
                    f"{route_rto_min_ms}ms",
                )
            options = {name: value for name, value in setting.items() if name.isupper()}
            for name in setting.keys() - options.keys():
                Path("/proc/sys/net/ipv4", name).write_text(f"{setting[name]}\n")
            with ExitStack() as stack:
                future.set_result(measure(stack, options))
        except BaseException as error:  # noqa: BLE001  raised again by the future
            future.set_exception(error)

    threading.Thread(target=work, name="lapse", daemon=True).start()
    return future


def _leave() -> None:
    """The calling thread is in a namespace of its own, which goes with its last socket."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    _run("ip", "link", "set", "lo", "up")


def send(stack: ExitStack, options: Setting) -> float:
    """Data that nobody acknowledges."""
    client, _ = _pair(stack, options)
    _lose()
    begun = time.monotonic()
    client.send(b"hello")
    return _until_timed_out(client, begun)


def close(stack: ExitStack, options: Setting) -> float:
    """A FIN that nobody acknowledges."""
    client, _ = _pair(stack, options)
    with _destroyed() as wait:
        _lose()
        begun = time.monotonic()
        client.close()
        return wait() - begun


def fill(stack: ExitStack, options: Setting, *, answers: bool, closes: bool) -> float:
    """A window that the peer keeps closed, from the moment at which it closes."""
    client, _ = _pair(stack, options, receive=4096)
    client.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            client.send(bytes(4096))
    while not any(row[5].startswith(_ZERO_WINDOW) for row in _rows()):
        time.sleep(0.002)
    with _destroyed() as wait:
        begun = time.monotonic()
        if not answers:
            _lose()
        if not closes:
            return _until_timed_out(client, begun)
        client.close()
        return wait() - begun


def idle(stack: ExitStack, options: Setting) -> float:
    """An idle connection with SO_KEEPALIVE, to a peer that is gone."""
    client, _ = _pair(stack, options)
    _lose()
    begun = time.monotonic()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return _until_timed_out(client, begun)


def connect(stack: ExitStack, options: Setting) -> float:
    """A SYN that nobody answers."""
    client = stack.enter_context(socket.socket())
    _set(client, options)
    _lose()
    begun = time.monotonic()
    with suppress(TimeoutError):
        client.connect(("127.0.0.1", _PORT))
    return time.monotonic() - begun


def request(stack: ExitStack, options: Setting) -> float:
    """A SYN+ACK that nobody acknowledges, after one SYN."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", _PORT), backlog=16))
    client = stack.enter_context(socket.socket())
    _set(client, options)
    _lose(_TO_CLIENT)
    client.setblocking(False)
    begun = time.monotonic()
    with suppress(BlockingIOError):
        client.connect(server.getsockname())
    _lose(_TO_SERVER)  # the SYN again
    while any(row[3] == "03" and row[1].endswith(f":{_PORT:04X}") for row in _rows()):
        time.sleep(0.02)
    return time.monotonic() - begun


def orphaned(stack: ExitStack, options: Setting) -> float:
    """An orphan in FIN_WAIT2 whose peer does not close: a timewait socket, whose end has no notice."""
    client, _ = _pair(stack, options)
    name = f":{client.getsockname()[1]:04X}"
    begun = time.monotonic()
    client.close()
    while any(row[1].endswith(name) for row in _rows()):
        time.sleep(0.02)
    return time.monotonic() - begun


def _pair(
    stack: ExitStack, options: Setting, receive: int = 0
) -> tuple[socket.socket, socket.socket]:
    server = stack.enter_context(socket.socket())
    if receive:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    server.bind(("127.0.0.1", _PORT))
    server.listen()
    client = stack.enter_context(socket.create_connection(server.getsockname()))
    _set(client, options)
    return client, stack.enter_context(server.accept()[0])


def _set(client: socket.socket, options: Setting) -> None:
    for name, number in (_OPTIONS | _KEEPALIVE).items():
        if name in options:
            client.setsockopt(socket.IPPROTO_TCP, number, options[name])


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


def _lose(*rules: str) -> None:
    """Packets that arrive are lost from now on; lost where they leave they would not count as sent."""
    lines = "\n".join(rules or (_TO_SERVER, _TO_CLIENT))
    chain = f"chain c {{\n type filter hook prerouting priority -300\n{lines}\n}}\n"
    _run("nft", "-f", "-", text=f"table inet t{time.monotonic_ns()} {{\n{chain}}}\n")


def _run(*argv: str, text: str = "") -> None:
    subprocess.run(
        argv, input=text, text=True, check=True, capture_output=True, timeout=patient(30)
    )
