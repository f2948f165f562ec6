# SPDX-License-Identifier: Apache-2.0
"""The program of ``kit.crowd``: many connections on loopback, both ends in this process.

Reads one command a line, does it and answers ``done``:

    open N        N more connections, accepted and idle
    reset N       the accepted ends of the oldest N abort (SO_LINGER 0), the clients notice and close
    dead N        the same, but the clients never close
    half N        the clients of the oldest N close: FIN_WAIT2
    finish N      the accepted ends of the oldest N half-closed ones close: TIME_WAIT
    bury N        the clients of the oldest N dead ones close
"""

from __future__ import annotations

import errno
import resource
import socket
import struct
import sys
from collections import deque

LINGER_0 = struct.pack("ii", 1, 0)
BIND_ADDRESS_NO_PORT = 24
# Connections from one address: below the number of local ports.
FROM_ONE = 20_000

Pair = tuple[socket.socket, socket.socket]


class Crowd:
    """All connections: idle, half-closed, and dead ones whose client is open."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._idle: deque[Pair] = deque()
        self._half: deque[socket.socket] = deque()
        self._dead: deque[socket.socket] = deque()
        self._made = 0

    def open(self, count: int) -> None:
        """Connect and accept."""
        for _ in range(count):
            client = socket.socket()
            client.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            client.bind((f"127.0.1.{1 + self._made // FROM_ONE}", 0))
            client.connect(self._listener.getsockname())
            self._idle.append((client, self._listener.accept()[0]))
            self._made += 1

    def reset(self, count: int) -> None:
        """Abort, notice, close."""
        self.dead(count)
        self.bury(count)

    def dead(self, count: int) -> None:
        """Abort, notice."""
        for _ in range(count):
            client, accepted = self._idle.popleft()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            accepted.close()
            try:
                client.recv(1)
            except ConnectionResetError:
                self._dead.append(client)
            else:
                raise OSError(errno.EPROTO, "no reset came")

    def bury(self, count: int) -> None:
        """Close dead ones."""
        for _ in range(count):
            self._dead.popleft().close()

    def half(self, count: int) -> None:
        """Close one end."""
        for _ in range(count):
            client, accepted = self._idle.popleft()
            client.close()
            self._half.append(accepted)

    def finish(self, count: int) -> None:
        """Close the other end."""
        for _ in range(count):
            accepted = self._half.popleft()
            if accepted.recv(1):
                raise OSError(errno.EPROTO, "no end came")
            accepted.close()


def main() -> None:
    """Do what is asked until the input ends."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd()
    for line in sys.stdin:
        name, _, count = line.partition(" ")
        getattr(crowd, name)(int(count))
        print("done", flush=True)


if __name__ == "__main__":
    main()
