# SPDX-License-Identifier: Apache-2.0
"""NewNames that only the recorded host knows, resolved while they are true: control groups, users."""

from __future__ import annotations

import pwd
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tracetw.host.cgroup import Cgroups
from tracetw.recording.frame import Chunk, FrameKind
from tracetw.recording.segment import KINDS
from tracetw.text import well_formed

__all__ = ["Found", "NewNames"]

# A path has 4,096 bytes at most, each of which may become six in JSON.
_PART = 256
_DTYPES = dict(KINDS.values())


@dataclass(frozen=True, slots=True)
class Found:
    """Ids that were looked up, and the names of those that have one, as written."""

    cgroups: frozenset[int]
    users: frozenset[int]
    found: dict[str, dict[int, str]]

    def parts(self) -> Iterator[dict[str, dict[int, str]]]:
        """What was found, in documents that a reader takes however long the names are."""
        for name, known in self.found.items():
            items = [*known.items()]
            for begin in range(0, len(items), _PART):
                yield {name: dict(items[begin : begin + _PART])}


class NewNames:
    """What a segment has not been told yet."""

    def __init__(self) -> None:
        self._cgroups = Cgroups()
        self._told: tuple[set[int], set[int]] = (set(), set())

    def forget(self) -> None:
        """A new segment has been told nothing."""
        self._told = (set(), set())

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
        return Found(frozenset(groups), frozenset(users), found)

    def written(self, names: Found) -> None:
        """They are in the segment now."""
        groups, users = self._told
        groups |= names.cgroups
        users |= names.users


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
