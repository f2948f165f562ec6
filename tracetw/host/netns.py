# SPDX-License-Identifier: Apache-2.0
"""The network namespaces of this host: which exist, what they are called, working inside one.

A namespace is known by its inode number, as the kernel side of the tracer reports it
(``net->ns.inum``). Nothing here keeps a namespace alive: no descriptor outlives a call.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tracetw.errors import BadInput
from tracetw.text import visible, well_formed

ALL = 0
"""What :func:`resolve` answers for ``all``: no namespace has inode 0."""

_DIRECTORIES = ("/run/netns", "/var/run/netns", "/run/docker/netns", "/var/run/docker/netns")
_CLONE_NEWNET = 0x40000000
_RESCAN_S = 1.0
_NS_GET_NSTYPE = 0xB703  # include/uapi/linux/nsfs.h, since 4.11
_INODE = re.compile(r"\d{1,10}", re.ASCII)
_MOUNT = re.compile(r"^\S+ \S+ \S+ net:\[(\d+)\] (\S+) ")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Netns:
    """One network namespace.

    Attributes:
        inode: its identity.
        name: the name ``ip netns`` or docker gave it; None when it has none.
        pid: a process whose main thread is in it; None when there is none.
        path: a file that leads to it, for setns(2).
    """

    inode: int
    name: str | None
    pid: int | None
    path: str


class NetnsNames:
    """NetnsNames of network namespaces by inode, looked up at most once a second.

    The kernel gives the inode of a namespace that is gone to the next one: a name that is not there
    any more is forgotten at once.
    """

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._next_s = float("-inf")

    def name(self, inode: int, now_s: float) -> str | None:
        """What ``ip netns`` or docker calls it; ``now_s`` is any clock that does not go back."""
        if now_s >= self._next_s:
            self._next_s = now_s + _RESCAN_S
            self._names = {each: name for each, (name, _) in _named() if name is not None}
        return self._names.get(inode)


class NamespaceRunner(Protocol):
    """Runs a function in the namespace of an :func:`inside` block."""

    def __call__(self, function: Callable[[], _T], /) -> _T:
        """Returns what the function returns, raises what it raises."""


def current() -> int:
    """Inode of the namespace of the calling thread."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def find() -> dict[int, Netns]:
    """Every namespace that has a process or a name here, by inode.

    A namespace kept alive only by an open descriptor or by a thread other than a process's first
    has neither and is not found.
    """
    pids = _by_process()
    names: dict[int, tuple[str | None, str]] = dict(_bind_mounts())
    names.update(_named())
    found = {
        inode: Netns(inode, names.get(inode, (None, ""))[0], pid, f"/proc/{pid}/ns/net")
        for inode, pid in pids.items()
    }
    for inode, (name, path) in names.items():
        if inode not in found:
            found[inode] = Netns(inode, name, None, path)
    return found


def resolve(text: str) -> int:
    """The inode that a user means by ``text``: a name, an inode number, a path, or ``all``.

    Returns :data:`ALL` for ``all``. Raises BadInput when there is no such namespace here.
    """
    if text == "all":
        return ALL
    if "/" in text:
        inode = _inode_of(text)
        if inode is not None:
            return inode
    else:
        for directory in _DIRECTORIES:
            inode = _inode_of(f"{directory}/{text}") if text not in ("", ".", "..") else None
            if inode is not None:
                return inode
        if _INODE.fullmatch(text) and int(text) in find():
            return int(text)
        for inode, (name, _) in _named():
            if name is not None and text in (name, visible(name)):  # as it is printed
                return inode
    raise BadInput(
        f"no network namespace {text!r} on this host",
        "give a name (ip netns list), an inode number (lsns -t net), a path such as"
        " /proc/PID/ns/net, or all",
    )


def unreachable(inode: int) -> tuple[str, str]:
    """Message and hint for a namespace that :func:`find` does not know."""
    return (
        f"network namespace {inode} has neither a process nor a name here: nothing leads into it",
        "start a process in it (nsenter --net=PATH sleep 60), and ask again",
    )


def gone(inode: int) -> tuple[str, str]:
    """Message and hint for one that ended while it was looked for."""
    return f"network namespace {inode} ended meanwhile", "see which there are: lsns -t net"


@contextmanager
def inside(netns: Netns | int) -> Iterator[NamespaceRunner]:
    """Gives a function that runs others inside a namespace, on a thread of its own.

    ``with inside(netns) as run: result = run(function)``. Only that thread moves; the caller's
    namespace never changes. The thread leaves the namespace and ends with the block.
    ``/proc/net`` follows the process, not the thread: read ``/proc/thread-self/net`` inside.

    Raises:
        FileNotFoundError: the namespace is gone (or its path leads to another one by now).
        PermissionError: no CAP_SYS_ADMIN.
    """
    where = find().get(netns) if isinstance(netns, int) else netns
    if where is None:
        raise FileNotFoundError(f"network namespace {netns} is gone")
    with _traveller() as run:
        run(lambda: _enter(where))
        yield run


def visit(namespaces: Iterable[Netns], function: Callable[[], _T]) -> dict[int, _T]:
    """Runs a function inside one namespace after the other, on one thread; results by inode.

    The result omits namespaces that are gone, or where ``function`` raises OSError.
    """
    results: dict[int, _T] = {}

    def walk() -> None:
        for netns in namespaces:
            with suppress(OSError):
                _enter(netns)
                results[netns.inode] = function()

    with _traveller() as run:
        run(walk)
    return results


@contextmanager
def _traveller() -> Iterator[NamespaceRunner]:
    """A thread that may change its namespace, and goes home before it ends."""
    jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def work() -> None:
        # join() returns a little before the thread is gone for the kernel, so it goes home itself.
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            while (job := jobs.get()) is not None:
                job()
            with suppress(OSError):  # it never left, for want of the capability
                _setns(home)
        finally:
            os.close(home)

    def run(function: Callable[[], _T], /) -> _T:
        results: list[_T] = []
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def job() -> None:
            try:
                results.append(function())
                done.put(None)
            except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
                done.put(error)

        jobs.put(job)
        error = done.get()
        if error is not None:
            raise error
        return results[0]

    thread = threading.Thread(target=work, name="netns", daemon=True)
    thread.start()
    try:
        yield run
    finally:
        jobs.put(None)
        thread.join()


def _enter(netns: Netns) -> None:
    """Moves the calling thread into ``netns``, raising as :func:`inside` does."""
    descriptor = os.open(netns.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_ino != netns.inode:
            raise FileNotFoundError(f"network namespace {netns.inode} is gone")
        _setns(descriptor)
    finally:
        os.close(descriptor)


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _by_process() -> dict[int, int]:
    """First (lowest) pid of each namespace that can be seen."""
    pids: dict[int, int] = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            pids.setdefault(os.stat(f"/proc/{pid}/ns/net").st_ino, pid)
        except OSError:
            continue  # gone, or not ours to see
    return pids


def _named() -> Iterator[tuple[int, tuple[str | None, str]]]:
    for directory in _DIRECTORIES:
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            inode = _inode_of(f"{directory}/{name}")
            if inode is not None:
                yield inode, (well_formed(name), f"{directory}/{name}")


def _bind_mounts() -> Iterator[tuple[int, tuple[str | None, str]]]:
    """Namespaces that something else than ``ip netns`` and docker keeps by a bind mount."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            if match := _MOUNT.match(line):
                path = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), match[2])
                yield int(match[1]), (None, path)


def _inode_of(path: str) -> int | None:
    """Inode of the network namespace behind ``path``; None when it is no such file."""
    try:
        # A fifo would block the open: look at the device first, which is that of the namespace file system.
        if os.stat(path).st_dev != os.stat("/proc/self/ns/net").st_dev:
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if fcntl.ioctl(descriptor, _NS_GET_NSTYPE) != _CLONE_NEWNET:
            return None
        return os.fstat(descriptor).st_ino
    except OSError:
        return None
    finally:
        os.close(descriptor)
