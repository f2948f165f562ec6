# SPDX-License-Identifier: Apache-2.0
"""Which side began a connection, as far as a look at the sockets can tell."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tracetw.host.socktable import Sockets
from tracetw.timewait.groups import codes
from tracetw.timewait.snapshot import Snapshot

_REMOTE = ("netns", "r_hi", "r_lo", "rport")
_LOCAL = ("netns", "l_hi", "l_lo", "lport")
_SEVERAL = 2


class Direction(IntEnum):
    """Who connected."""

    UNKNOWN = 0
    IN = 1
    """The peer: this is the server's side."""
    OUT = 2
    """This side: it is the client."""


def directions(snapshot: Snapshot, which: NDArray[np.intp]) -> NDArray[np.uint8]:
    """:class:`Direction` of the sockets ``which`` (indices).

    A local port with a listener is the server's. Several local ports to one remote port are a
    client's, several remote ends at one local port a server's. Else a local port out of
    ip_local_port_range towards one outside of it is the client's.
    """
    rows = snapshot.sockets
    fan_out, fan_in = (_several(rows, columns, which) for columns in (_REMOTE, _LOCAL))
    where = rows["netns"][which]
    inside = {name: np.zeros(len(which), np.bool_) for name in ("lport", "rport")}
    for netns in np.unique(where).tolist():
        settings = snapshot.spaces[netns].settings
        if settings.low is None or settings.high is None:
            continue
        mine = where == netns
        for name in inside:
            port = rows[name][which]
            inside[name] |= mine & (port >= settings.low) & (port <= settings.high)
    out = np.where(fan_out == fan_in, inside["lport"] & ~inside["rport"], fan_out)
    server = snapshot.listening[which] | fan_in & ~fan_out
    found = np.zeros(len(which), np.uint8)
    found[out] = Direction.OUT
    found[server] = Direction.IN
    return found


def _several(rows: Sockets, columns: tuple[str, ...], which: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Does another row agree in these columns?"""
    code, count = codes(rows, columns, which)
    return np.bincount(code, minlength=count)[code] >= _SEVERAL
