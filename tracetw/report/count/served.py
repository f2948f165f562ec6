# SPDX-License-Identifier: Apache-2.0
"""When which port worked, and by which process: what tells that a listener came back, and who it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import State
from tracetw.report.count.cube import Cube
from tracetw.report.count.keys import OTHERS, SECOND, addresses, fill
from tracetw.report.count.slots import Slots
from tracetw.stream.batch import Closes

BEGAN, ENDED = range(2)
"""Kinds: a connection was established; one that a process had served for a while ended."""

SERVED = np.dtype(
    [
        ("addr_hi", "<u8"),
        ("addr_lo", "<u8"),
        ("netns", "<u4"),
        ("pid", "<u4"),
        ("slot", "<u4"),
        ("port", "<u2"),
        ("source", "<u2"),
        ("role", "u1"),
        ("kind", "u1"),
        ("pad", "V6"),
    ]
)
"""A listening address and port; the process is that of the listener where its end was recorded."""

_LIMIT = 200_000
_WHILE_NS = SECOND // 4
_CLIENT, _SERVER = 1, 2
_OPENING = np.zeros(256, np.bool_)
_OPENING[[State.SYN_SENT, State.SYN_RECV]] = True


def _forget_ports(cells: NDArray[Any]) -> None:
    cells["pid"] = cells["port"] = 0
    cells["addr_hi"] = cells["addr_lo"] = OTHERS


class Served:
    """Counts connections of ports by the second in which they were established."""

    def __init__(self) -> None:
        self.slots = Slots(SECOND)
        self.cube = Cube(SERVED, _LIMIT, [*[self.slots.coarsen] * 6, _forget_ports], once=6)

    def add(self, part: Closes, keys: NDArray[Any]) -> None:
        """Count a batch with its keys of dtype ``CELL``."""
        rows, role = part.rows, keys["role"]
        worked = (role != 0) & ~_OPENING[rows["old_state"]]
        born = rows["at"][:, 0].astype(np.int64)
        second = rows["at"][:, 1].astype(np.int64)
        # A client is in SYN_SENT first. What began before the trace says nothing of when.
        born = np.where((role == _CLIENT) & (second > 0) & (second >= born), second, born)
        known = np.flatnonzero(worked & (born > 0))
        self._add(part, keys, known, part.clock.to_wall_ns(born[known]), BEGAN)
        at = part.clock.to_wall_ns(np.maximum(born, 0))
        long = np.flatnonzero(worked & (role == _SERVER) & (born > 0) & (part.at - at > _WHILE_NS))
        if len(long):
            self._add(part, keys, long, part.at[long], ENDED)

    def _add(
        self,
        part: Closes,
        keys: NDArray[Any],
        which: NDArray[np.intp],
        at: NDArray[np.int64],
        kind: int,
    ) -> None:
        mine = keys[which]
        made = fill(SERVED, mine, slot=self.slots.of(at), kind=kind)
        server = mine["role"] == _SERVER
        here = addresses(part.rows, "laddr")
        for name, local, peer in zip(
            ("addr_hi", "addr_lo"), here, ("peer_hi", "peer_lo"), strict=True
        ):
            made[name] = np.where(server, local[which], mine[peer])
        made["pid"][~server] = 0
        made["netns"][~server] = 0
        self.cube.add(made, at)
