# SPDX-License-Identifier: Apache-2.0
"""Names that only the recorded host knows, while they are true: control groups, users, who listens."""

from __future__ import annotations

import pwd
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracetw.host.cgroup import Cgroups
from tracetw.recording.frame import Chunk, FrameKind
from tracetw.recording.segment import KINDS
from tracetw.stream.known import MOST_LISTENERS, PortListener, port_key
from tracetw.text import well_formed

# A path has 4,096 bytes at most, each of which may become six in JSON.
_PART = 256
_DTYPES = dict(KINDS.values())


@dataclass(frozen=True, slots=True)
class Found:
    """Ids that were looked up, and the names of those that have one, as written; who listens."""

    cgroups: frozenset[int]
    users: frozenset[int]
    found: dict[str, dict[int, str]]
    heard: tuple[PortListener, ...] = ()

    def parts(self, closes: int) -> Iterator[dict[str, Any]]:
        """What was found after so many closes, in documents that a reader takes however long the names are."""
        for name, known in self.found.items():
            items = [*known.items()]
            for begin in range(0, len(items), _PART):
                yield {name: dict(items[begin : begin + _PART])}
        for begin in range(0, len(self.heard), _PART):
            some = [one._asdict() for one in self.heard[begin : begin + _PART]]
            yield {"heard": some, "closes": closes}


class NewNames:
    """What a segment has not been told yet."""

    def __init__(self) -> None:
        self._cgroups = Cgroups()
        self._told: tuple[set[int], set[int]] = (set(), set())
        self._heard: dict[int, PortListener] = {}
        self._unheard: dict[int, PortListener] = {}

    def hear(self, heard: Iterable[PortListener]) -> None:
        """Write these with the next rows, and in each new segment."""
        new = {port_key(one.netns, one.port): one for one in heard}
        if len(self._heard.keys() | new) > MOST_LISTENERS:
            self._heard.clear()
        self._heard |= new
        self._unheard |= new

    def forget(self) -> None:
        """A new segment has been told nothing."""
        self._told = (set(), set())
        self._unheard = dict(self._heard)

    def new(self, kind: FrameKind, parts: Sequence[Chunk]) -> Found:
        """NewNames in rows of ``kind``; of other kinds there are none."""
        groups: set[int] = set()
        users: set[int] = set()
        if kind in _DTYPES:
            for part in parts:
                rows = np.frombuffer(part, _DTYPES[kind])
                groups |= _different(rows["cgroup"])
                users |= _different(rows["uid"])
        told_groups, told_users = self._told
        groups -= told_groups
        users -= told_users
        now = time.monotonic()
        found: dict[str, dict[int, str]] = {}
        paths = {identity: self._cgroups.path(identity, now) for identity in groups}
        for name, values in (("cgroups", paths), ("users", {uid: _user(uid) for uid in users})):
            known = {key: value for key, value in values.items() if value is not None}
            if known:
                found[name] = known
        heard = tuple(self._unheard.values()) if kind is FrameKind.CLOSES else ()
        return Found(frozenset(groups), frozenset(users), found, heard)

    def written(self, names: Found) -> None:
        """They are in the segment now."""
        groups, users = self._told
        groups |= names.cgroups
        users |= names.users
        if names.heard:
            self._unheard.clear()


def _different(column: np.ndarray) -> set[int]:
    """Most batches have few."""
    if (column == column[0]).all():
        return {int(column[0])}
    return set(np.unique(column).tolist())


def _user(uid: int) -> str | None:
    try:
        return well_formed(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return None
