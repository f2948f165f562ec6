# SPDX-License-Identifier: Apache-2.0
"""Which process holds a socket, found from outside through ``/proc/*/fd``."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

_SOCKET = "socket:["
_SECOND = 1_000_000_000
_TICKS = os.sysconf("SC_CLK_TCK")
_STARTTIME = 19  # counted from the state, behind the name


class Process(NamedTuple):
    """A process that holds a socket: ``pid`` (tgid), ``comm`` (its bytes) and effective ``uid``."""

    pid: int
    comm: bytes
    uid: int


def owners_by_inode(inodes: Mapping[int, int]) -> dict[int, Process]:
    """The owner of each socket of ``inodes`` (``socket:[N]``) that has exactly one.

    ``inodes`` has for each the time at which its connection ended (CLOCK_MONOTONIC, ns). Of several
    holders, those that were not born yet do not count: they have inherited a dead socket, if only
    from fork(2) until exec(2), as every child of a process that starts programs.

    A socket that several processes hold (passed on, inherited by a child) gets no owner: nothing
    outside says which of them uses it, and a wrong owner is worse than none. Threads share
    one descriptor table and count once. Processes that may not be read are as good as absent, so
    the answer is only certain with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
    """
    owners: dict[int, Process] = {}
    known: dict[int, Process | None] = {}
    for inode, pids in holders(inodes).items():
        if len(pids) > 1:
            pids = [pid for pid in pids if _born_before(pid, inodes[inode])]  # noqa: PLW2901
        if len(pids) != 1:
            continue
        pid = pids[0]
        if pid not in known:
            known[pid] = process(pid)
        owner = known[pid]
        if owner is not None:
            owners[inode] = owner
    return owners


def holders(inodes: Iterable[int]) -> dict[int, list[int]]:
    """Every pid that holds each socket of ``inodes``; sockets that none holds are absent.

    One pass over all descriptors of all processes, whatever the number of inodes.
    """
    links = {f"{_SOCKET}{inode}]": inode for inode in inodes}
    found: dict[int, list[int]] = {}
    if not links:
        return found
    for name in os.listdir("/proc"):
        if name.isdigit():
            for inode in _held(int(name), links):
                found.setdefault(inode, []).append(int(name))
    return found


def _born_before(pid: int, moment_ns: int) -> bool:
    """Whether a process was there at a time of CLOCK_MONOTONIC, to a clock tick; False when gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return False
    if len(fields) <= _STARTTIME:
        return False
    # In ticks of the time since boot, which goes on in suspend (proc_pid_stat(5)).
    asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    born = int(fields[_STARTTIME]) * _SECOND // _TICKS - asleep
    return born <= moment_ns


def process(pid: int) -> Process | None:
    """Name and effective user of a process; None when it is gone."""
    name = comm(pid)
    if name is None:
        return None
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("Uid:"):
                    return Process(pid, name, int(line.split()[2]))
    except OSError:
        pass
    return None


def comm(pid: int) -> bytes | None:
    """``/proc/<pid>/comm``, the bytes that the kernel side reads too; None when the process is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().removesuffix(b"\n")
    except OSError:
        return None


def _held(pid: int, links: dict[str, int]) -> Collection[int]:
    """Those of the wanted sockets that a process holds, each once."""
    directory = f"/proc/{pid}/fd"
    held: set[int] = set()
    try:
        descriptors = os.listdir(directory)
    except OSError:
        return held
    for descriptor in descriptors:
        try:
            inode = links.get(os.readlink(f"{directory}/{descriptor}"))
        except OSError:
            continue  # closed meanwhile
        if inode is not None:
            held.add(inode)
    return held
