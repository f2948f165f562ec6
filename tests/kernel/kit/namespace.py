# SPDX-License-Identifier: Apache-2.0
"""Throw-away network namespaces with nothing in them but a loopback interface that is up."""

from __future__ import annotations

import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from tracetw.host import netns
from tracetw.host.netns import Netns, Runner
from tracetw.lab.net.reaper import note_namespace
from tracetw.lab.polling import patient

NAMED = Path("/run/netns")

Pair: TypeAlias = tuple[socket.socket, socket.socket]


def ip(*arguments: str) -> None:
    """Runs ip(8)."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=patient(30))


@contextmanager
def namespace() -> Iterator[Netns]:
    """One that goes with the context."""
    name = f"tracetw-{secrets.token_hex(4)}"
    note_namespace(name)
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        yield netns.find()[netns.resolve(name)]
    finally:
        ip("netns", "del", name)


def connection(run: Runner) -> Pair:
    """Two ends of a loopback connection inside the namespace."""

    def connect() -> Pair:
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            return client, server.accept()[0]

    return run(connect)
