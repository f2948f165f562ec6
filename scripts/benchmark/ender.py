# SPDX-License-Identifier: Apache-2.0
"""Ends a connection for each line that it reads, and says when: run in a namespace, on loopback."""

from __future__ import annotations

import socket
import struct
import sys
import time
from contextlib import suppress

__all__ = ["main"]

ABORT = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


def main() -> None:
    """Monotonic nanoseconds right before the close, one line each."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in sys.stdin:
            client = socket.create_connection(listener.getsockname())
            accepted, _ = listener.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            at = time.monotonic_ns()
            accepted.close()
            with suppress(ConnectionResetError):
                client.recv(1)
            client.close()
            print(at, flush=True)


if __name__ == "__main__":
    main()
