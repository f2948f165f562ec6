# SPDX-License-Identifier: Apache-2.0
"""Throw-away network namespaces with nothing in them but a loopback interface that is up."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from tracetw.host import netns
from tracetw.host.netns import NamespaceRunner, Netns
from tracetw.lab.net.host import alone
from tracetw.lab.polling import patient

Pair: TypeAlias = tuple[socket.socket, socket.socket]


def ip(*arguments: str) -> None:
    """Runs ip(8)."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=patient(30))


@contextmanager
def namespace() -> Iterator[Netns]:
    """One that goes with the context."""
    with alone() as host:
        yield netns.find()[host.netns]


def connection(run: NamespaceRunner) -> Pair:
    """Two ends of a loopback connection inside the namespace."""

    def connect() -> Pair:
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            return client, server.accept()[0]

    return run(connect)
