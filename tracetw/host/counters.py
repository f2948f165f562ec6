# SPDX-License-Identifier: Apache-2.0
"""The kernel's own counters of connection ends, per network namespace.

``/proc/net/netstat`` (TcpExt, MPTcpExt) and ``/proc/net/snmp`` (Tcp) are read for every namespace of
the host: through a process in it, or, for a named namespace without processes, from a short-lived
thread inside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from tracetw.host import netns as namespaces
from tracetw.host.netns import Netns

Snapshot = dict[int, dict[str, int]]
"""Namespace inode to counter to value. A counter that the kernel does not have is absent."""

COUNTERS = (
    "TCPAbortOnData",
    "TCPAbortOnClose",
    "TCPAbortOnTimeout",
    "TCPAbortOnLinger",
    "TCPAbortOnMemory",
    "TCPAbortFailed",
    "EstabResets",
    "OutRsts",
    "TW",
    "TWKilled",
    "TCPTimeWaitOverflow",
    "TWRecycled",
    "PAWSEstab",
    "PAWSTimewait",
    "PAWSActive",
    "TCPChallengeACK",
    "TCPACKSkippedChallenge",
    "TCPSYNChallenge",
    "TCPMD5NotFound",
    "TCPMD5Unexpected",
    "TCPMD5Failure",
    "ListenOverflows",
    "ListenDrops",
    "TCPReqQFullDrop",
    "SyncookiesSent",
    "EmbryonicRsts",
    "MPFastcloseTx",
    "MPFastcloseRx",
)
"""What the reconciliation compares, what it needs to give reasons, and how often an accept queue was full."""

_FILES = ("netstat", "snmp")
_GROUPS = frozenset({"TcpExt", "Tcp", "MPTcpExt"})


def parse(text: str, wanted: Iterable[str] = COUNTERS) -> dict[str, int]:
    """Picks counters out of the text of ``netstat`` or ``snmp``.

    Both consist of pairs of lines with the same first word: names, then values. The result
    omits a counter that the kernel does not have, and ignores a torn last line.
    """
    names = frozenset(wanted)
    found: dict[str, int] = {}
    lines = text.splitlines()
    for head, values in zip(lines[::2], lines[1::2]):  # noqa: B905  an odd line is a torn one
        group = head.partition(":")[0]
        if group not in _GROUPS or not values.startswith(group):
            continue
        for name, value in zip(head.split()[1:], values.split()[1:]):  # noqa: B905  as above
            if name in names:
                found[name] = int(value)
    return found


def snapshot(only: Iterable[int] | None = None) -> Snapshot:
    """Reads the counters of every namespace, or of those in ``only`` that exist.

    A namespace that cannot be read (it vanished meanwhile, or needs privileges we lack) is absent.
    """
    found = namespaces.find()
    inodes = found.keys() if only is None else [inode for inode in only if inode in found]
    result: Snapshot = {}
    remaining: list[Netns] = []
    for inode in inodes:
        values = _through_process(found[inode])
        if values is None:
            remaining.append(found[inode])
        else:
            result[inode] = values
    if remaining:
        result.update(_through_thread(remaining))
    return result


def _through_process(netns: Netns) -> dict[str, int] | None:
    if netns.pid is None:
        return None
    try:
        values = _read(f"/proc/{netns.pid}/net")
        # The process may have moved or died and its number been given to another one.
        if os.stat(f"/proc/{netns.pid}/ns/net").st_ino != netns.inode:
            return None
    except OSError:
        return None
    return values


def _through_thread(remaining: list[Netns]) -> Snapshot:
    """For namespaces without a process: a thread steps inside, one after the other."""
    if any(netns.pid is not None for netns in remaining):  # it is gone: is there another way in?
        fresh = namespaces.find()
        remaining = [fresh[netns.inode] for netns in remaining if netns.inode in fresh]
    return namespaces.visit(remaining, _read_here)


def _read_here() -> dict[str, int]:
    return _read("/proc/thread-self/net")


def _read(directory: str) -> dict[str, int]:
    values: dict[str, int] = {}
    for name in _FILES:
        with open(f"{directory}/{name}", "rb", buffering=0) as file:
            values.update(parse(file.readall().decode("ascii", "replace")))
    return values
