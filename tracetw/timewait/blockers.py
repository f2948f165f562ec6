# SPDX-License-Identifier: Apache-2.0
"""Which sockets keep a port from somebody who wants to listen on it.

bind() refuses a port while another socket has it with the same address or a wildcard, TIME_WAIT
included, unless both have SO_REUSEADDR and the other does not listen (inet_bind_conflict()). A timewait
socket remembers whether its connection had it (``tw_reuse``); those of clients mostly had not, so that
SO_REUSEADDR of the listener is no help against them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tracetw.timewait.direction import Direction
from tracetw.timewait.groups import codes
from tracetw.timewait.look import Look
from tracetw.timewait.note import Note
from tracetw.timewait.snapshot import SocketKind, seconds_left
from tracetw.timewait.wording import place, process, sockets

_AT_MOST = 5


def blocked(look: Look) -> Iterator[Note]:
    """Of the port asked for; else of ports without a listener that are no client's by their number."""
    snapshot = look.snapshot
    kind, rows = snapshot.kinds, snapshot.sockets
    if look.listen is not None:
        which = np.flatnonzero(rows["lport"] == look.listen)
        if not len(which):
            text = f"No socket that can be seen has port {look.listen}."
            yield Note("blocks-listen", None, text)
    else:
        waits = (kind == SocketKind.TIME_WAIT) | (kind == SocketKind.FIN_WAIT2_ORPHAN)
        which = np.flatnonzero(waits & ~snapshot.listening & ~_ephemeral(look))
    code, count = codes(rows, ("netns", "lport"), which)
    totals = np.bincount(code, minlength=count)
    for each in np.argsort(-totals, kind="stable")[:_AT_MOST].tolist():
        yield _note(look, which[code == each])


def _ephemeral(look: Look) -> NDArray[np.bool_]:
    rows = look.snapshot.sockets
    inside = np.zeros(len(rows), np.bool_)
    for netns, part in look.snapshot.parts.items():
        settings = look.snapshot.spaces[netns].settings
        if settings.low is not None and settings.high is not None:
            port = rows["lport"][part]
            inside[part] = (port >= settings.low) & (port <= settings.high)
    return inside


def _note(look: Look, mine: NDArray[np.intp]) -> Note:
    rows, kind = look.snapshot.sockets[mine], look.snapshot.kinds[mine]
    netns, port = int(rows["netns"][0]), int(rows["lport"][0])
    listens = np.flatnonzero(kind == SocketKind.LISTEN)
    timed = (kind == SocketKind.TIME_WAIT) | (kind == SocketKind.FIN_WAIT2_ORPHAN)
    where = f"port {port}{place(look, netns)}"
    if len(listens):
        owner = look.owners.of_port(netns, port)
        text = f"A listener{process(owner)} has {where}."
    elif timed.all():
        left = seconds_left(look.snapshot.sockets, mine)
        out = int((look.direction[mine] == Direction.OUT).sum())
        last = "a while" if np.isnan(left).all() else f"{np.nanmax(left):.0f} s"
        client = f", {out:,} of outgoing connections" if out else ""
        text = (
            f"{sockets(len(mine))} in TIME_WAIT or FIN_WAIT2 {'has' if len(mine) == 1 else 'have'} {where}, which has"
            f" no listener{client}: bind() of one fails with EADDRINUSE for {last}, unless SO_REUSEADDR is set on it and was set on them"
            " (a server's have it from their listener, a client's mostly not)."
        )
    else:
        open_ = int((~timed).sum())
        text = (
            f"{sockets(open_, 'open socket')} and {int(timed.sum()):,} in TIME_WAIT or FIN_WAIT2 have {where}, which has no"
            " listener: bind() of one fails with EADDRINUSE, unless SO_REUSEADDR is set on it and on them."
        )
    return Note("blocks-listen", netns, text)
