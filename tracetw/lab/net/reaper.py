# SPDX-License-Identifier: Apache-2.0
"""What a lab started does not outlive it, whatever ends it, SIGKILL included.

A small process of its own watches the lab. When that dies before it said that all is undone, the watcher
kills every process that descends from it, also stopped ones, and removes the namespaces and control
groups that it noted. Descendants are known by a variable in their environment, which they inherit:
neither a second fork nor a session of their own hides them.

Run as a program: ``reaper.py OWNER VARIABLE``, with notes on standard input, one a line.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tracetw import isolated
from tracetw.lab.net.spawn import popen

_PREFIX = "TRACETW_GUARD_"
_DONE, _NAMESPACE, _GROUP = "done", "namespace", "group"
_NAMED = Path("/run/netns")
_MNT_DETACH = 2  # include/linux/fs.h
# A process between fork and exec does not have the variable yet: looked for until none came twice.
_PAUSE_S = 0.05
_CLEAN = 2
_LOOKS = 200

_watchers: list[subprocess.Popen[bytes]] = []


@contextmanager
def guarded() -> Iterator[None]:
    """What is started within does not outlive this process. Within another one it does nothing."""
    if _watchers:
        yield
        return
    variable = f"{_PREFIX}{secrets.token_hex(8)}"
    watcher = popen(
        isolated.command("tracetw.lab.net.reaper", str(os.getpid()), variable, packages=False),
        stdin=subprocess.PIPE,
        # Those of another lab that this one runs in are not for it: it has to outlive that one, too.
        env={name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)},
        cwd="/",
    )
    _watchers.append(watcher)
    os.environ[variable] = "1"
    try:
        yield
    finally:
        del os.environ[variable]
        _watchers.clear()
        _tell(watcher, _DONE)
        if watcher.stdin is not None:
            with suppress(OSError):
                watcher.stdin.close()
        watcher.wait()


def note_namespace(name: str) -> None:
    """A network namespace of this name is about to be made."""
    for watcher in _watchers:
        _tell(watcher, _NAMESPACE, name)


def note_group(path: Path) -> None:
    """A control group is about to be made there."""
    for watcher in _watchers:
        _tell(watcher, _GROUP, str(path))


def _tell(watcher: subprocess.Popen[bytes], *words: str) -> None:
    if watcher.stdin is not None:
        with suppress(BrokenPipeError):  # somebody killed it: the lab goes on unwatched
            watcher.stdin.write("\t".join(words).encode() + b"\n")
            watcher.stdin.flush()


def _watch(owner: int, variable: str) -> None:
    """Until the owner says that all is undone, or has died."""
    said = b""
    with suppress(ProcessLookupError):
        life = os.pidfd_open(owner)
        alive = os.getppid() == owner  # otherwise the number may be another's by now
        while alive and not _notes(said, _DONE):
            ready, _, _ = select.select([0, life], [], [])
            alive = life not in ready
            if 0 in ready:
                data = os.read(0, 1 << 16)
                alive = alive and bool(data)
                said += data
    if _notes(said, _DONE):
        return
    os.set_blocking(0, False)
    with suppress(BlockingIOError):
        while data := os.read(0, 1 << 16):
            said += data
    if not _notes(said, _DONE):
        _kill_all(variable.encode() + b"=")
        _remove(_notes(said, _NAMESPACE), _notes(said, _GROUP))


def _notes(said: bytes, kind: str) -> list[str]:
    """The last words of whole lines of a kind."""
    lines = [line.split("\t") for line in said.decode().split("\n")[:-1]]
    return [words[-1] for words in lines if words[0] == kind]


def _kill_all(mark: bytes) -> None:
    clean = 0
    for _ in range(_LOOKS):
        clean = 0 if [pid for pid in _pids() if _kill(pid, mark)] else clean + 1
        if clean == _CLEAN:
            return
        time.sleep(_PAUSE_S)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _kill(pid: int, mark: bytes) -> bool:
    """Kill a process that has the mark in its environment; did it have it?"""
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if not any(variable.startswith(mark) for variable in variables):
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(process)
    return True


def _remove(namespaces: list[str], groups: list[str]) -> None:
    """As ``ip netns del``, also where ``ip netns add`` had no time to end; and the groups."""
    umount = ctypes.CDLL(None).umount2
    for name in namespaces:
        path = _NAMED / name
        umount(os.fsencode(path), _MNT_DETACH)
        with suppress(OSError):
            path.unlink()
    for group in groups:
        for _ in range(_LOOKS):  # busy until the last process of it has gone
            try:
                Path(group).rmdir()
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(_PAUSE_S)
            else:
                break


if __name__ == "__main__":
    _watch(int(sys.argv[1]), sys.argv[2])
