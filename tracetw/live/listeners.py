# SPDX-License-Identifier: Apache-2.0
"""Who listens on the ports of connections that end, looked for when they end."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby

from tracetw.host import netns
from tracetw.host.bound import Holders, bound
from tracetw.host.listening import Listening
from tracetw.stream.known import PortListener, port_key

_SHARE = 0.02  # of one CPU
_AGAIN_S = 1.0
_OLD_S = 10.0
_MOST_READ = 4096


class Finder:
    """Looks at a network namespace when a port of it is not known, or was looked at ten seconds ago.

    Not more than once a second, and where it takes long less often: for 2 % of a CPU at most, and as much again to
    find the processes.
    """

    def __init__(self) -> None:
        self._holders = Holders()
        self._read_s: dict[int, float] = {}
        self._not_before_s = 0.0

    def __call__(
        self, keys: Collection[int], known: Mapping[int, PortListener]
    ) -> list[PortListener]:
        """See ``stream.known.Find``."""
        now = time.monotonic()
        if now < self._not_before_s:
            return []
        stale = {
            key >> 16
            for key in keys
            if now - self._read_s.get(key >> 16, -_OLD_S) >= (_OLD_S if key in known else _AGAIN_S)
        }
        if not stale:
            return []
        begun = time.thread_time()
        places = netns.find()
        seen = netns.visit([places[inode] for inode in stale & places.keys()], bound)
        if len(self._read_s) > _MOST_READ:
            self._read_s.clear()
        self._read_s.update(dict.fromkeys(stale, now))
        self._not_before_s = time.monotonic() + (time.thread_time() - begun) / _SHARE
        return [
            one
            for one in _by_port(self._holders.of(seen))
            if known.get(port_key(one.netns, one.port)) != one
        ]


def _by_port(found: Collection[Listening]) -> Iterator[PortListener]:
    """What all listeners of a port have in common; nothing of those whose processes are not known."""
    told = sorted((one.netns, one.port, one.comm, one.cgroup or "") for one in found if one.comm)
    for (inode, port), same in groupby(told, lambda one: one[:2]):
        several = [*same]
        comms, groups = {one[2] for one in several}, {one[3] for one in several}
        comm = comms.pop() if len(comms) == 1 else None
        group = groups.pop() if comm is not None and len(groups) == 1 else ""
        yield PortListener(inode, port, comm, group or None)
