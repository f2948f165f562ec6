# SPDX-License-Identifier: Apache-2.0
"""One run of a virtual machine: its output as it comes, and how it ended."""

from __future__ import annotations

import selectors
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from scripts.guests.errors import Missing
from scripts.guests.machine import PORTS, Machine
from tracetw.closing import Closing

__all__ = ["Ending", "Guest", "Outcome"]

# The first word of stage1.sh.
STARTED = "tracetw-vm: started"
_CONSOLE_LINES = 100
_AFTER_EXIT_S = 30.0
_CHUNK = 1 << 16

Sink = Callable[[bytes], object]


class Ending(Enum):
    """How it came to the end of a guest."""

    EXIT = "the command ended"
    TIMEOUT = "the time was over"
    PANIC = "the kernel panicked"
    LOST = "the guest ended without the status of its command"
    STOPPED = "interrupted"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run. ``status`` of the command when it ended by itself."""

    ending: Ending
    status: int | None
    seconds: float
    console: tuple[str, ...]


class _Lines:
    """Text that arrives in pieces; the last lines of it."""

    def __init__(self) -> None:
        self.last: deque[str] = deque(maxlen=_CONSOLE_LINES)
        self._rest = b""

    def add(self, data: bytes) -> list[str]:
        """The lines that are now whole."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [line.decode(errors="replace").strip("\r") for line in whole]
        self.last.extend(lines)
        return lines


class Guest(Closing):
    """Runs while in its context; leaving it ends the emulator, whatever the guest does.

    Args:
        machine: to switch on.
        job: what its first script reads.
        sinks: what takes the bytes of the ports ``out`` and ``err``.
    """

    def __init__(self, machine: Machine, job: bytes, sinks: Mapping[str, Sink]) -> None:
        self._sinks = sinks
        self._lines = {name: _Lines() for name in ("console", "control", "emulator")}
        self._status: int | None = None
        self._started = False
        self._begin = time.monotonic()
        self._selector = selectors.DefaultSelector()
        pairs = {name: socket.socketpair() for name in ("console", "emulator", *PORTS)}
        try:
            theirs = {name: pair[1].fileno() for name, pair in pairs.items()}
            argv = machine.argv(theirs)
            # It dies with this process, and a Ctrl-C in the terminal is for this process to handle.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=theirs["emulator"],
                pass_fds=tuple(theirs.values()),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise Missing(f"{error.filename} is not installed", "install util-linux") from error
        finally:
            for _, end in pairs.values():
                end.close()
        for name, (end, _) in pairs.items():
            self._selector.register(end, selectors.EVENT_READ, name)
        # Far less than the buffer of a socket holds.
        pairs["control"][0].sendall(job)

    def close(self) -> None:
        """Kill it if it still runs."""
        self._process.kill()
        self._process.wait()
        for key in list(self._selector.get_map().values()):
            self._forget(key)
        self._selector.close()

    def started(self, within: float) -> bool:
        """Does the kernel get as far as our first script in that many seconds?"""
        end = time.monotonic() + within
        while not self._started and self._selector.get_map() and time.monotonic() < end:
            self._take(end)
        return self._started

    def finish(self, within: float | None, stop: threading.Event | None = None) -> Outcome:
        """Wait for the end of the command and of the guest, or until another thread says stop."""
        end = time.monotonic() + within if within is not None else float("inf")
        while self._selector.get_map():
            if stop is not None and stop.is_set():
                return self._outcome(Ending.STOPPED)
            if time.monotonic() >= end:
                return self._outcome(Ending.TIMEOUT if self._status is None else Ending.EXIT)
            known = self._status is not None
            self._take(end)
            if self._status is not None and not known:
                end = time.monotonic() + _AFTER_EXIT_S
        if self._status is not None:
            return self._outcome(Ending.EXIT)
        panicked = any("Kernel panic" in line for line in self._lines["console"].last)
        return self._outcome(Ending.PANIC if panicked else Ending.LOST)

    def _outcome(self, ending: Ending) -> Outcome:
        seconds = time.monotonic() - self._begin
        lines = [*self._lines["emulator"].last, *self._lines["console"].last]
        return Outcome(ending, self._status, seconds, tuple(lines))

    def _take(self, end: float) -> None:
        for key, _ in self._selector.select(min(1.0, max(0.0, end - time.monotonic()))):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)  # noqa: S101 - nothing else is registered
            try:
                data = connection.recv(_CHUNK)
            except ConnectionResetError:
                data = b""
            if data:
                self._heard(key.data, data)
            else:
                self._forget(key)

    def _heard(self, name: str, data: bytes) -> None:
        if name in self._sinks:
            self._sinks[name](data)
        if name not in self._lines:
            return
        for line in self._lines[name].add(data):
            word, _, value = line.partition(" ")
            if name == "console" and STARTED in line:
                self._started = True
            elif name == "control" and word == "exit":
                self._status = int(value)

    def _forget(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - nothing else is registered
        key.fileobj.close()
