# SPDX-License-Identifier: Apache-2.0
"""What tests do with two hosts and a cable (the fixture ``pair``)."""

from __future__ import annotations

import socket
import struct

import pytest

from tracetw.lab.net.topology import Net

__all__ = ["LINGER_0", "only", "reset_once"]

LINGER_0 = struct.pack("ii", 1, 0)


def only(pair: Net) -> list[str]:
    """The options by which a tracer sees nothing else."""
    return ["--netns", pair.a.name, "--netns", pair.b.name]


def reset_once(pair: Net) -> None:
    """One connection that ends at once, at both ends."""
    link = pair.connect()
    link.a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    link.a.close()
    with pytest.raises(ConnectionResetError):
        link.b.recv(1)
    link.b.close()
    link.listener.close()
