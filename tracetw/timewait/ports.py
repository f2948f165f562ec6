# SPDX-License-Identifier: Apache-2.0
"""The local ports of a namespace: which connect() may take, and which it may not for any destination.

connect() skips every port that a socket took with bind(), whatever the addresses are
(``tb->fastreuse >= 0`` in __inet_hash_connect()). That are ports of listeners and of the connections that
they accepted (__inet_inherit_port()), of sockets that only bind() has seen, and of clients that call bind()
before connect() without IP_BIND_ADDRESS_NO_PORT. sock_diag does not tell the last from any other client.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracetw.host.socktable import Sockets
from tracetw.timewait.settings import PORTS, Settings
from tracetw.timewait.snapshot import SocketKind

# Of a group, look at so many of the newest connections, no older than this; so few are too few.
_NEWEST, _WITHIN_S, _FEW = 64, 20.0, 8
_SOME = 0.25
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Ports:
    """Of one namespace, each a mask of shape (65536,).

    Attributes:
        candidates: in the range and not reserved.
        held: taken by a socket that was bound: a listener, its connections, or only bound.
        left_out: ports that a single connect() does not try (:meth:`Settings.left_out`).
    """

    candidates: NDArray[np.bool_]
    held: NDArray[np.bool_]
    left_out: int

    @classmethod
    def of(cls, rows: Sockets, kind: NDArray[np.uint8], settings: Settings) -> Ports:
        """From all sockets of a namespace."""
        held = np.zeros(PORTS, np.bool_)
        held[rows["lport"][(kind == SocketKind.LISTEN) | (kind == SocketKind.BOUND)]] = True
        return cls(settings.candidates(), held, settings.left_out())

    def free_for_connect(self) -> NDArray[np.bool_]:
        """Ports that connect() may take for a destination to which none is in use."""
        return self.candidates & ~self.held

    def capacity(self) -> int:
        """How many of those one destination can have at a time, for certain."""
        return max(int(self.free_for_connect().sum()) - self.left_out, 0)


def chosen_by_bind(
    lport: NDArray[np.uint16],
    code: NDArray[np.intp],
    age_s: NDArray[np.float32],
    ports: Ports,
    low: int,
) -> NDArray[np.bool_]:
    """Whose local port did bind() choose? Of clients, one answer for each row.

    __inet_hash_connect() tries all ports of the parity of ``low`` before any other; bind() begins with
    the other parity (inet_csk_find_open_port()), or takes what its caller wants. So where many of the
    newest connections between two addresses and a port have the other parity, although most ports of
    the first are free, it was not connect() that chose. IP_LOCAL_PORT_RANGE of a socket has the same
    effect: the port is not held for others then, which nobody outside can see.

    Args:
        lport: local ports of clients alone.
        code: a number for each destination.
        age_s: of their TIME_WAIT; NaN for others.
        ports: of the namespace.
        low: first port of the range.
    """
    chosen = np.zeros(len(lport), np.bool_)
    if not len(lport):
        return chosen
    count = int(code.max()) + 1
    other = (lport - np.uint16(low)) % 2 == 1
    suspects = np.flatnonzero(np.bincount(code[other], minlength=count) >= _FEW * _SOME)
    first_parity = ports.free_for_connect()
    first_parity[(np.arange(PORTS) - low) % 2 == 1] = False
    room = int(first_parity.sum())
    if not len(suspects):
        return chosen
    order = np.argsort(code, kind="stable")
    begins = np.searchsorted(code[order], np.arange(count + 1))
    for suspect in suspects.tolist():
        mine = order[begins[suspect] : begins[suspect + 1]]
        young = mine[age_s[mine] <= _WITHIN_S]
        if len(young) < _FEW:
            continue
        newest = young[np.argsort(age_s[young], kind="stable")[:_NEWEST]]
        if other[newest].mean() >= _SOME and (~other[mine]).sum() < room * _HALF:
            chosen[mine] = True
    return chosen
