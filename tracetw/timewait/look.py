# SPDX-License-Identifier: Apache-2.0
"""A snapshot with all that is worked out of it, each part once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tracetw.timewait.by_owner import Owned, by_owner
from tracetw.timewait.carriers import Carried
from tracetw.timewait.direction import directions
from tracetw.timewait.forecast import Forecast, forecasts
from tracetw.timewait.note import Note
from tracetw.timewait.owners import TimewaitOwners
from tracetw.timewait.ports import Ports
from tracetw.timewait.snapshot import Snapshot, SocketKind


@dataclass(frozen=True)
class Look:
    """What ``tracetw timewait`` shows, text or JSON.

    Attributes:
        snapshot: the sockets.
        carried: joined with close records; None without any.
        most: rows of each table.
        listen: a port that somebody wants to listen on; None for no question.
    """

    snapshot: Snapshot
    carried: Carried | None = None
    most: int = 20
    listen: int | None = None

    @cached_property
    def forecasts(self) -> list[Forecast]:
        """Destinations, those whose ports run out first in front."""
        return forecasts(self.snapshot, carried=self.carried)

    @cached_property
    def stuck(self) -> NDArray[np.intp]:
        """Sockets between ESTABLISHED and TIME_WAIT, the oldest kinds of trouble first."""
        kind = self.snapshot.kinds
        which = np.flatnonzero((kind > SocketKind.TIME_WAIT) & (kind < SocketKind.LISTEN))
        return which[np.argsort(-kind[which].astype(np.int16), kind="stable")]

    @cached_property
    def direction(self) -> NDArray[np.uint8]:
        """``direction.Direction`` of each socket that closing left behind; UNKNOWN for others."""
        kind = self.snapshot.kinds
        which = np.flatnonzero((kind > SocketKind.LIVE) & (kind < SocketKind.LISTEN))
        found = np.zeros(len(kind), np.uint8)
        found[which] = directions(self.snapshot, which)
        return found

    @cached_property
    def owners(self) -> TimewaitOwners:
        """Who holds and who listens."""
        owned = self.snapshot.kinds == SocketKind.FIN_WAIT2_OWNED
        return TimewaitOwners(self.snapshot, self.snapshot.sockets["inode"][owned].tolist())

    @cached_property
    def owned(self) -> list[Owned]:
        """By owner, those with the most first."""
        return by_owner(self.snapshot, self.owners, self.carried)

    @cached_property
    def notes(self) -> list[Note]:
        """What the look means, in sentences."""
        from tracetw.timewait.advice import notes  # noqa: PLC0415 (it reads all of this)

        return notes(self)

    def ports(self, netns: int) -> tuple[int, int]:
        """How many ports of the range bind() holds, and how many connect() can take."""
        part = self.snapshot.parts.get(netns, slice(0, 0))
        rows, kind = self.snapshot.sockets[part], self.snapshot.kinds[part]
        ports = Ports.of(rows, kind, self.snapshot.spaces[netns].settings)
        return int((ports.held & ports.candidates).sum()), ports.capacity()
