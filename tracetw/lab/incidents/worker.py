# SPDX-License-Identifier: Apache-2.0
"""A process of an incident: it serves or calls, and counts what became of its connections.

Run by :mod:`tracetw.isolated`: ``worker COMM``. One JSON array a line on standard input, verb first; one JSON
object a line back, ``{"pid": ..., "value": ...}`` or ``{"pid": ..., "error": "..."}``.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tracetw.lab.incidents.server import OUTCOMES, PIECE, REQUEST, ApplicationTally, Server
from tracetw.lab.net.actor import eat

PR_SET_NAME = 15
END_S = 120

_libc = ctypes.CDLL(None, use_errno=True)


class Program:
    """The verbs."""

    def __init__(self) -> None:
        self._tally = ApplicationTally()
        self._server: Server | None = None
        self._held: list[socket.socket] = []
        self._calling = threading.Event()
        self._calls: list[threading.Thread] = []

    def tell(self) -> dict[str, dict[str, int]]:
        """Outcomes so far."""
        return self._tally.read()

    # --- a server

    def serve(self, address: str, port: int, backlog: int, *shared: bool) -> None:
        """Listen, and answer every request; ``shared``: others may listen on the port as well."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if any(shared):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((address, port))
        listener.listen(backlog)
        self._server = Server(listener, self._tally)

    @property
    def server(self) -> Server:
        """What serves."""
        if self._server is None:
            raise OSError(errno.ENOTCONN, "serves nothing")
        return self._server

    def close_first(self) -> None:
        """Close each connection after its answer."""
        self.server.closes_first = True

    def read_no_more(self) -> None:
        """Stand still: requests wait unread."""
        self.server.reading = False

    def accept(self, on: bool) -> None:  # noqa: FBT001 (an order is a list)
        """Take new connections, or leave them in the queue."""
        self.server.accepting = on

    def close_after(self, idle_s: float) -> None:
        """Close what was idle for so long."""
        self.server.idle_s = idle_s

    def connections(self) -> int:
        """How many are open."""
        return len(self.server.connections)

    def drain_on_term(self) -> None:
        """SIGTERM closes the listener; the process ends when its last connection has."""

        def drain(_number: int, _frame: object) -> None:
            self.server.stop_listening()
            threading.Thread(target=self._leave_when_done).start()

        signal.signal(signal.SIGTERM, drain)

    def _leave_when_done(self) -> None:
        while self.server.connections:
            time.sleep(0.01)
        os._exit(0)

    def push(self, count: int, timeout_ms: int) -> None:
        """Send so many bytes on each connection; a peer that takes none is given up after a time."""
        for connection in list(self.server.connections):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
            connection.settimeout(None)
            threading.Thread(target=self._push, args=(connection, count), daemon=True).start()

    def _push(self, connection: socket.socket, count: int) -> None:
        try:
            connection.sendall(bytes(count))
        except OSError as error:
            self._tally.failed(error)

    # --- a client

    def call(self, address: str, port: int, every_s: float, *to_the_end: bool) -> None:
        """From now on a new connection every so often: a request, its answer, and closed.

        The server closes first if it is read ``to_the_end``.
        """
        self._calling.set()

        def work() -> None:
            due = time.monotonic()
            while self._calling.is_set():
                self._start(self._once, address, port, *to_the_end)
                due += every_s
                time.sleep(max(0.0, due - time.monotonic()))

        self._start(work)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        self._calls = [thread for thread in self._calls if thread.is_alive()]
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._calls.append(thread)
        thread.start()

    def _once(self, address: str, port: int, to_the_end: bool = False) -> None:  # noqa: FBT001, FBT002
        try:
            with socket.socket() as made:
                made.connect((address, port))
                made.sendall(REQUEST)
                answer = made.recv(PIECE)
                if answer and to_the_end:
                    made.recv(PIECE)
                error = 0 if answer else made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._tally.add("ok" if answer else OUTCOMES.get(error, "closed"))
        except OSError as error:
            self._tally.failed(error)

    def hang_up(self) -> dict[str, dict[str, int]]:
        """No more calls; all that were begun have ended. The outcomes. Raises OSError when one does not end."""
        self._calling.clear()
        until = time.monotonic() + END_S
        for thread in list(self._calls):
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                raise TimeoutError(errno.ETIMEDOUT, f"a call has not ended after {END_S} s")
        return self.tell()

    def hold(self, address: str, port: int, count: int) -> None:
        """Open so many connections, ask once on each, and keep them."""
        for _ in range(count):
            made = socket.create_connection((address, port))
            made.sendall(REQUEST)
            made.recv(PIECE)
            self._held.append(made)

    def open(self, address: str, port: int, count: int) -> None:
        """Open so many connections and keep them, with nothing said."""
        self._held += [socket.create_connection((address, port)) for _ in range(count)]

    def buffer(self, size: int) -> None:
        """Take only so many bytes at once on the connections held."""
        for held in self._held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def ask(self) -> None:
        """A request on each of the connections held."""
        for held in self._held:
            try:
                held.sendall(REQUEST)
            except OSError as error:
                self._tally.failed(error)
                held.close()
        self._held = [held for held in self._held if held.fileno() >= 0]

    def listen_on(self) -> None:
        """In the background: wait for an answer or the end of each connection held."""
        for held in self._held:
            self._start(self._await, held)
        self._held = []

    def _await(self, held: socket.socket) -> None:
        try:
            with held:
                answer = held.recv(PIECE)
                # After a FIN the kernel tells of a RST by this alone (tcp_reset: EPIPE).
                error = held.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._tally.add("ok" if answer else OUTCOMES.get(error, "closed"))
        except OSError as error:
            self._tally.failed(error)

    def let_go(self) -> None:
        """Close the connections held."""
        for held in self._held:
            held.close()
            self._tally.add("ok")
        self._held = []

    # --- how it ends

    def exit(self, code: int) -> None:
        """End with everything open."""
        os._exit(code)

    def crash(self, number: int) -> None:
        """End of a signal that the program itself brought about, without a core."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pause()

    def eat(self) -> None:
        """Take memory until the kernel kills us."""
        eat()


def main() -> None:
    """Answer orders until standard input ends."""
    _libc.prctl(PR_SET_NAME, sys.argv[1].encode(), 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])  # the lab starts us without
    program = Program()
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        answer: dict[str, Any] = {"pid": os.getpid()}
        try:
            answer["value"] = getattr(program, verb)(*arguments)
        except OSError as error:
            answer["error"] = os.strerror(error.errno or 0)
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
