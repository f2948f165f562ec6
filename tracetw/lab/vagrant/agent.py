# SPDX-License-Identifier: Apache-2.0
"""What the lab has done on a machine: sockets, programs and files there, by order of the lab.

Run as a program on the machine, as root, over ssh: one JSON object a line on standard input, one a line back,
in whatever order they are ready: each order has a thread, since ``accept`` may wait while ``close`` is asked for.
It knows nothing but the standard library, and all that it started ends with it.
"""

from __future__ import annotations

import base64
import ctypes
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["decoded", "encoded"]

PR_SET_PDEATHSIG = 1
_BYTES = "base64"
# Not on the disk: the settings of a boot end with it.
_BEFORE = Path("/run/tracetw-lab-before")
_libc = ctypes.CDLL(None, use_errno=True)


def encoded(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """As JSON can hold it: bytes become an object."""
    if isinstance(value, (bytes, bytearray)):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    if isinstance(value, (list, tuple)):
        return [encoded(each) for each in value]
    return value


def decoded(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """What :func:`encoded` was given, tuples as lists."""
    if isinstance(value, dict) and _BYTES in value:
        return base64.b64decode(value[_BYTES])
    if isinstance(value, list):
        return [decoded(each) for each in value]
    return value


def _ends_with_us() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Agent:
    """The verbs. What is made here has a number, by which later orders name it."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._next = 0

    def _keep(self, thing: Any) -> int:  # noqa: ANN401 (sockets and processes)
        with self._lock:
            self._next += 1
            self._made[self._next] = thing
            return self._next

    def hello(self) -> dict[str, Any]:
        """Which process of which boot this is."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        release = os.uname().release
        return {"pid": os.getpid(), "boot": boot, "release": release, "host": os.uname().nodename}

    def clock(self, now_ns: int) -> None:
        """Set the clock: nanoseconds since the epoch."""
        time.clock_settime_ns(time.CLOCK_REALTIME, now_ns)

    def now(self) -> int:
        """The clock, as above."""
        return time.time_ns()

    # --- sockets

    def socket(self, family: int, kind: int, protocol: int) -> int:
        return self._keep(socket.socket(family, kind, protocol))

    def call(self, number: int, method: str, *arguments: Any) -> Any:  # noqa: ANN401 (of any method)
        """A method of a socket; an accepted connection gets a number."""
        words = [tuple(each) if isinstance(each, list) else each for each in arguments]
        value = getattr(self._made[number], method)(*words)
        if method == "accept":
            return [self._keep(value[0]), value[1]]
        return value

    # --- programs

    def run(self, argv: list[str], text: str) -> list[Any]:
        """Exit status, standard output, standard error."""
        done = subprocess.run(argv, input=text.encode(), capture_output=True, check=False)
        return [
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        ]

    def spawn(self, argv: list[str]) -> list[int]:
        """Start a program that goes on: its number and pid. Its standard error goes into a file."""
        pipe = subprocess.PIPE
        errors = Path(f"/run/tracetw-lab-{os.getpid()}-{time.monotonic_ns()}").open("w+b")  # noqa: SIM115
        os.unlink(errors.name)  # noqa: PTH108
        process = subprocess.Popen(
            argv,
            stdin=pipe,
            stdout=pipe,
            stderr=errors,
            preexec_fn=_ends_with_us,  # noqa: PLW1509
        )
        return [self._keep((process, errors)), process.pid]

    def write(self, number: int, data: bytes) -> None:
        stream = self._made[number][0].stdin
        stream.write(data)
        stream.flush()

    def line(self, number: int) -> bytes:
        return bytes(self._made[number][0].stdout.readline())

    def byte(self, number: int) -> bytes:
        """One byte of its standard output; none when it has ended."""
        return bytes(self._made[number][0].stdout.read(1))

    def kill(self, number: int, signum: int) -> None:
        process, _ = self._made[number]
        if process.poll() is None:
            process.send_signal(signum)

    def signal(self, pid: int, signum: int) -> None:
        """Any process, such as a child of what was started here."""
        os.kill(pid, signum)

    def wait(self, number: int, seconds: float) -> list[Any]:
        """Its exit status, None while it runs on, and what it said on standard error."""
        process, errors = self._made[number]
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        errors.seek(0)
        return [status, errors.read().decode(errors="replace")]

    # --- files

    def read(self, *paths: str) -> list[str]:
        return [Path(path).read_text(encoding="utf-8") for path in paths]

    def store(self, path: str, text: str) -> None:
        Path(path).write_text(text, encoding="utf-8")

    def set(self, values: dict[str, str]) -> None:
        """Write settings, by path, and keep what they were before the first of these orders since the last restore."""
        kept = self._kept()
        for path in values:
            kept.setdefault(path, Path(path).read_text(encoding="ascii"))
        _BEFORE.write_text(json.dumps(kept), encoding="ascii")
        for path, text in values.items():
            Path(path).write_text(text, encoding="ascii")

    def restore(self) -> None:
        """What was set comes back, also what an agent set that was ended. A reboot has done it before."""
        for path, text in self._kept().items():
            Path(path).write_text(text, encoding="ascii")
        _BEFORE.unlink(missing_ok=True)

    @staticmethod
    def _kept() -> dict[str, str]:
        try:
            kept: dict[str, str] = json.loads(_BEFORE.read_text(encoding="ascii"))
        except FileNotFoundError:
            return {}
        return kept

    def names(self, path: str) -> list[str]:
        return sorted(each.name for each in Path(path).iterdir())

    def pack(self, *paths: str) -> bytes:
        """These files and folders as a tar archive, each under its last name."""
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w:gz") as archive:
            for path in paths:
                archive.add(path, arcname=Path(path).name)
        return memory.getvalue()


def main() -> None:
    """Answer orders until standard input ends."""
    agent = Agent()
    lock = threading.Lock()

    def obey(order: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"id": order["id"]}
        try:
            answer["value"] = encoded(getattr(agent, order["verb"])(*decoded(order["args"])))
        except TimeoutError as error:
            answer["error"] = ["OSError" if error.errno else "timeout", error.errno, str(error)]
        except OSError as error:
            answer["error"] = ["OSError", error.errno, error.strerror or str(error)]
        except Exception as error:  # noqa: BLE001 (the lab says what it was)
            answer["error"] = [type(error).__name__, None, str(error)]
        with lock:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    for text in sys.stdin:
        order = json.loads(text)
        if order["verb"] == "spawn":
            # PR_SET_PDEATHSIG is about the thread that made the child, and this one stays.
            obey(order)
        else:
            threading.Thread(target=obey, args=(order,), daemon=True).start()
    # Threads that wait in accept() would be waited for. The kernel closes what they hold.
    os._exit(0)


if __name__ == "__main__":
    main()
