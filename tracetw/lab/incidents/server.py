# SPDX-License-Identifier: Apache-2.0
"""What a worker serves, and the count of what became of connections. Of the standard library alone."""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import time

__all__ = ["ANSWER", "OUTCOMES", "PIECE", "REQUEST", "ApplicationTally", "Server"]

PIECE = 1 << 16
LOOK_S = 0.02
OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timed_out",
    errno.EADDRNOTAVAIL: "no_port",
    errno.EHOSTUNREACH: "unreachable",
}
"""What an application sees, by error."""
REQUEST, ANSWER = b"get\n", b"here\n"


class ApplicationTally:
    """How connections ended, as the application saw it: outcome to count, first and last time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, int]] = {}

    def add(self, outcome: str) -> None:
        """One more, now."""
        with self._lock:
            now = time.time_ns()
            row = self._found.setdefault(outcome, {"count": 0, "first_ns": now, "last_ns": now})
            row["count"] += 1
            row["last_ns"] = now

    def failed(self, error: OSError) -> None:
        """One more that ended with an error of the kernel's."""
        self.add(OUTCOMES.get(error.errno or 0, errno.errorcode.get(error.errno or 0, "error")))

    def read(self) -> dict[str, dict[str, int]]:
        """All so far."""
        with self._lock:
            return {outcome: dict(row) for outcome, row in self._found.items()}


class Server:
    """Answers every request on every connection, until told otherwise."""

    def __init__(self, listener: socket.socket, tally: ApplicationTally) -> None:
        self._tally = tally
        self.listener = listener
        self.connections: dict[socket.socket, float] = {}
        self.reading = self.accepting = True
        self.idle_s: float | None = None
        self.closes_first = False
        self._select = selectors.DefaultSelector()
        self._select.register(listener, selectors.EVENT_READ)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            for key, _ in self._select.select(LOOK_S):
                if key.fileobj is self.listener:
                    self._accept()
                elif self.reading:
                    self._serve(key.fileobj)  # type: ignore[arg-type]  # what was registered
            if not (self.reading and self.accepting):
                time.sleep(LOOK_S)
            if self.idle_s is not None:
                self._close_idle(time.monotonic() - self.idle_s)

    def _accept(self) -> None:
        if self.accepting:
            try:
                made = self.listener.accept()[0]
            except OSError:  # the listener was closed meanwhile
                return
            self.connections[made] = time.monotonic()
            self._select.register(made, selectors.EVENT_READ)

    def _serve(self, connection: socket.socket) -> None:
        try:
            request = connection.recv(PIECE)
            if request:
                connection.sendall(ANSWER)
                self.connections[connection] = time.monotonic()
                if not self.closes_first:
                    return
            self._tally.add("ok")
        except OSError as error:
            self._tally.failed(error)
        self._close(connection)

    def _close_idle(self, before: float) -> None:
        for connection, used in list(self.connections.items()):
            if used < before:
                self._tally.add("idle")
                self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._select.unregister(connection)
        del self.connections[connection]
        connection.close()

    def stop_listening(self) -> None:
        """Close the listener, go on with the connections."""
        self._select.unregister(self.listener)
        self.listener.close()
