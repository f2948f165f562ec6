# SPDX-License-Identifier: Apache-2.0
"""What is known of addresses and ports, for every output: names of addresses, who listens on a port.

The stream itself says who listens (:class:`PortListener`), before the connections with which a sink shows it, and a
recording has it at that place. So a recording says of each connection what the trace said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import IPv4Address
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import Rows

MOST_LISTENERS = 1 << 14
"""Ports whose listener is remembered."""
_SERVER = fields.ROLES.index("server")
_IPV4 = 4
_AF_INET = 2
_LOOPBACK4 = 127


class PortListener(NamedTuple):
    """Who listens on a port from now on, as far as is known.

    Attributes:
        netns: inode of the network namespace.
        port: host order.
        comm: name of the process; None: processes of different names do.
        cgroup: path of its control group; None unknown.
    """

    netns: int
    port: int
    comm: str | None
    cgroup: str | None = None


Find: TypeAlias = Callable[[Collection[int], Mapping[int, PortListener]], Iterable[PortListener]]
"""Looks at ports, by :func:`port_key`, of which something is known already; gives what is new."""


Ask: TypeAlias = Callable[[Collection[str]], Mapping[str, str]]
"""Gives the names of addresses, of those that have a known one."""


class Known:
    """Names of addresses, and who listens.

    Args:
        names: of addresses, as they are shown: ``/etc/hosts``.
        find: looks who listens on this host now; None: only the stream tells.
        ask: names of addresses that ``names`` does not have, of those that it knows.

    Attributes:
        names: as given.
        listeners: by :func:`port_key`; not to be changed but by :meth:`tell`.
        version: steps when ``listeners`` changes.
    """

    def __init__(
        self,
        names: Mapping[str, str] | None = None,
        find: Find | None = None,
        ask: Ask | None = None,
    ) -> None:
        self.names = {} if names is None else names
        self._find = find
        self._ask = ask
        packed = map(_packed, self.names)
        self._fours = np.array(sorted({one for one in packed if one is not None}), np.uint32)
        self.listeners: dict[int, PortListener] = {}
        self.version = 0

    def look(self, rows: Rows) -> None:
        """Before these connections are shown: who listens on their ports?"""
        if self._find is None or not len(rows):
            return
        keys = served_by(rows)
        keys = keys[keys > 0]
        if len(keys):
            different = {int(keys[0])} if (keys == keys[0]).all() else {*np.unique(keys).tolist()}
            self.tell(self._find(different, self.listeners))

    def tell(self, heard: Iterable[PortListener]) -> None:
        """Somebody else listens there now."""
        for one in heard:
            key = port_key(one.netns, one.port)
            if self.listeners.get(key) == one:
                continue
            if len(self.listeners) >= MOST_LISTENERS and key not in self.listeners:
                self.listeners.clear()
            self.listeners[key] = one
            self.version += 1

    @property
    def nameless(self) -> bool:
        """No address has a name."""
        return not self.names and self._ask is None

    def may_know(
        self, packed: NDArray[np.uint32], families: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Of which addresses ``of`` is worth asking, without their text.

        Args:
            packed: of ``fields.ipv4_packed``.
            families: of ``fields.families``.
        """
        if self._ask is not None:
            return np.ones(len(packed), np.bool_)
        named: NDArray[np.bool_] = families != _IPV4
        if len(self._fours):
            at = self._fours.searchsorted(packed)
            named |= self._fours.take(at, mode="clip") == packed
        return named

    def of(self, addresses: Iterable[str]) -> Mapping[str, str]:
        """Names of those addresses that have one."""
        different = {*addresses}
        found = {address: self.names[address] for address in self.names.keys() & different}
        if self._ask is not None:
            found.update(self._ask(different - found.keys()))
        return found


def _packed(address: str) -> int | None:
    """An IPv4 address as a number; None for another one, and for what a recording may claim to be one."""
    try:
        return int(IPv4Address(address))
    except ValueError:
        return None


def port_key(netns: int, port: int) -> int:
    """A port of a network namespace as one number."""
    return netns << 16 | port


def served_by(rows: Rows) -> NDArray[np.uint64]:
    """The :func:`port_key` of the server's port of each connection whose server is here; 0 for others."""
    server = fields.role(rows) == _SERVER
    here = server | _to_itself(rows)
    port = np.where(server, rows["lport"], rows["rport"]).astype(np.uint64)
    keys: NDArray[np.uint64] = rows["netns"].astype(np.uint64) << np.uint64(16) | port
    return np.where(here, keys, np.uint64(0))


def _to_itself(rows: Rows) -> NDArray[np.bool_]:
    """Both ends are in one namespace: the same address, or a loopback one."""
    same: NDArray[np.bool_] = (rows["laddr"] == rows["raddr"]).all(axis=1)
    four = fields.families(rows) == _IPV4
    first = np.where(rows["family"] == _AF_INET, rows["raddr"][:, 0], rows["raddr"][:, 12])
    loopback: NDArray[np.bool_] = four & (first == _LOOPBACK4)
    return same | loopback
