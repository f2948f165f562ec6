# SPDX-License-Identifier: Apache-2.0
"""Who listens where: every listener of a namespace, and the process that holds it.

To find a holder takes a look at every descriptor of the host. So it looks for holders of new sockets only,
and where that takes long, not each time: until then their process is not known.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tracetw.event.fields import State
from tracetw.host import socktable
from tracetw.host.holders import Process, holders, process
from tracetw.host.listeners import common
from tracetw.host.listening import MOST_LISTENERS, Listening
from tracetw.text import decoded

_SHARE = 0.02  # of one CPU
_UNIFIED = re.compile(rb"^0::(/.*)$", re.MULTILINE)
_LARGEST = 1 << 16


class Bound(NamedTuple):
    """A listener: address as the kernel has it, port, and the inode by which its holders are found."""

    address: str
    port: int
    inode: int


def bound() -> list[Bound]:
    """The listeners of the namespace of this thread, by port; empty where the kernel lacks inet_diag."""
    try:
        rows = socktable.here(0, 1 << State.LISTEN)
    except OSError:
        return []
    addresses = socktable.addresses(rows[:MOST_LISTENERS], "l")
    pairs = zip(addresses, rows["lport"].tolist(), rows["inode"].tolist(), strict=False)
    return sorted((Bound(*each) for each in pairs), key=lambda one: (one.port, one.address))


class Holders:
    """Looks up the processes of listeners, each socket once. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, Listening] = {}
        self._not_before_s = 0.0

    def of(self, found: Mapping[int, Sequence[Bound]]) -> tuple[Listening, ...]:
        """The listeners of all namespaces, at most ``MOST_LISTENERS``, with what is known of their holders."""
        listed = [(netns, one) for netns in sorted(found) for one in found[netns]][:MOST_LISTENERS]
        with self._lock:
            return self._owned(listed)

    def _owned(self, listed: list[tuple[int, Bound]]) -> tuple[Listening, ...]:
        inodes = {one.inode for _, one in listed}
        self._known = {inode: self._known[inode] for inode in inodes & self._known.keys()}
        self._look_up(inodes - self._known.keys())
        nobody = Listening(0, "", 0)
        return tuple(
            self._known.get(one.inode, nobody)._replace(
                netns=netns, address=one.address, port=one.port
            )
            for netns, one in listed
        )

    def _look_up(self, inodes: set[int]) -> None:
        if not inodes or time.monotonic() < self._not_before_s:
            return
        begun = time.thread_time()
        pids = holders(inodes)
        for inode in inodes:
            self._known[inode] = _holder([process(pid) for pid in pids.get(inode, ())])
        self._not_before_s = time.monotonic() + (time.thread_time() - begun) / _SHARE


def _holder(processes: list[Process | None]) -> Listening:
    """Of a socket that these hold."""
    shared = common(processes)
    groups = {_cgroup(one.pid) for one in processes if one is not None}
    return Listening(
        0,
        "",
        0,
        shared.pid,
        None if shared.comm is None else decoded(shared.comm),
        shared.uid,
        groups.pop() if shared.comm is not None and len(groups) == 1 else None,
    )


def _cgroup(pid: int) -> str | None:
    """Path of its group below the cgroup2 mount; None where it is outside of our cgroup namespace."""
    try:
        with Path(f"/proc/{pid}/cgroup").open("rb") as file:
            match = _UNIFIED.search(file.read(_LARGEST))
    except OSError:
        return None
    path = None if match is None else decoded(match[1])
    return None if path is None or path.startswith("/..") else path
