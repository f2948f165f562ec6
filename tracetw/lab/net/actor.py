# SPDX-License-Identifier: Apache-2.0
"""A process with a name of its own that obeys orders about one TCP socket.

Run as a program: ``actor.py COMM``. One JSON array a line on standard input, verb first; one JSON
object a line back, ``{"pid": ..., "value": ...}`` or ``{"pid": ..., "error": "..."}``.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

PR_SET_NAME = 15
PR_SET_PDEATHSIG = 1
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
EATEN_AT_ONCE = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def _rename(comm: str) -> None:
    _libc.prctl(PR_SET_NAME, comm.encode(), 0, 0, 0)


def eat() -> None:
    """Take memory until the kernel kills us."""
    eaten = []
    while True:
        eaten.append(os.urandom(EATEN_AT_ONCE))


class Program:
    """The verbs. ``self.socket`` is the connection, ``self.listener`` where it was accepted."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.listener = socket.socket()

    def listen(self, family: int, port: int) -> None:
        self.listener = socket.socket(FAMILIES[family], socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("", port))
        self.listener.listen(16)

    def accept(self) -> None:
        self.socket = self.listener.accept()[0]

    def connect(self, family: int, address: str, port: int, protocol: int = 0) -> None:
        self.socket = socket.socket(FAMILIES[family], socket.SOCK_STREAM, protocol)
        self.socket.connect((address, port))

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode())

    def receive(self) -> str:
        return self.socket.recv(65536).decode()

    def option(self, level: int, name: int, value: int) -> None:
        self.socket.setsockopt(level, name, value)

    def linger(self, on: int, seconds: int) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", on, seconds))

    def close(self) -> None:
        self.socket.close()

    def close_listener(self) -> None:
        self.listener.close()

    def hurry(self) -> None:
        """Run as soon as woken, whatever else wants the processor."""
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except PermissionError:
            os.setpriority(os.PRIO_PROCESS, 0, -20)

    def close_at_end(self) -> None:
        """Close the moment the peer's FIN is read: nothing between the two but the wake-up."""
        while self.socket.recv(65536):
            pass
        self.socket.close()

    def hand_over(self, comm: str, *kept: str) -> None:
        """A forked child named ``comm`` goes on; this process lets go of its connection and waits.

        What it keeps is named: "listener", as the first process of a pre-forked server does.
        """
        let_go, letting_go = os.pipe()
        child = os.fork()
        if child == 0:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            _rename(comm)
            os.close(letting_go)
            os.read(let_go, 1)  # ends when the parent has let go: no close() of ours is the first
            os.close(let_go)
            return
        self.socket.close()
        if "listener" not in kept:
            self.listener.close()
        os.close(letting_go)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    def leave(self, comm: str) -> None:
        """A forked child named ``comm`` goes on with everything; this process exits."""
        if os.fork():
            os._exit(0)
        _rename(comm)

    def become(self, comm: str) -> None:
        """Another program: the socket is close-on-exec, as Python's are."""
        os.execv(sys.executable, [comm, "-S", "-I", __file__, comm])

    def exit(self, code: int) -> None:
        os._exit(code)

    def die(self, number: int, core_bytes: int) -> None:
        """End of signal ``number``, with core files of up to ``core_bytes``."""
        resource.setrlimit(resource.RLIMIT_CORE, (core_bytes, core_bytes))
        signal.pthread_sigmask(
            signal.SIG_UNBLOCK, [number]
        )  # the lab starts us without those that stop it
        if number != signal.SIGKILL:  # a shell's background job is started with SIGINT ignored
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pause()

    def eat(self) -> None:
        eat()

    def spin(self) -> None:
        """Burn the processor until killed."""
        while True:
            pass


def main() -> None:
    """Answer orders until standard input ends."""
    _rename(sys.argv[1])
    program = Program()
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        act: Callable[..., Any] = getattr(program, verb)
        answer: dict[str, Any] = {}
        try:
            answer["value"] = act(*arguments)
        except OSError as error:
            answer["error"] = os.strerror(error.errno or 0)
        answer["pid"] = os.getpid()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
