# SPDX-License-Identifier: Apache-2.0
"""Conditions that name values, and which rows have one of them. The same for wanted and unwanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Network
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows
from tracetw.event.record import F_ADDR
from tracetw.host.container import belongs
from tracetw.stream.parse import Network, PortRange
from tracetw.text import spellings, visible

Mask: TypeAlias = NDArray[np.bool_]
CgroupPath: TypeAlias = Callable[[int], str | None]

_INET, _INET6 = 2, 10  # AF_INET and AF_INET6 of Linux, as the record has them
_PORTS = 1 << 16
_MAPPED_PREFIX = np.frombuffer(bytes(10) + b"\xff\xff", dtype="u1")


@dataclass(frozen=True, slots=True)
class Criteria:
    """Values by kind; an empty kind says nothing.

    Attributes:
        ports: inclusive ranges, local or remote port.
        local_ports: inclusive ranges.
        remote_ports: inclusive ranges.
        nets: local or remote address is in one of them.
        pids: process of the owner.
        comms: its command name, shell patterns.
        netns: inodes of network namespaces; None for all.
        cgroups: paths below the cgroup2 mount; everything below them belongs to them.
        containers: beginnings of ids, or names that stand in the path of the cgroup.
        verdicts: indexes in ``taxonomy.VERDICTS``.
    """

    ports: tuple[PortRange, ...] = ()
    local_ports: tuple[PortRange, ...] = ()
    remote_ports: tuple[PortRange, ...] = ()
    nets: tuple[Network, ...] = ()
    pids: frozenset[int] = frozenset()
    comms: tuple[str, ...] = ()
    netns: frozenset[int] | None = None
    cgroups: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    verdicts: frozenset[int] = frozenset()

    def having(self, rows: Rows, cgroup_path: CgroupPath) -> Iterable[Mask]:
        """For each kind that says something, but verdicts: which rows have one of its values."""
        local, remote = rows["lport"], rows["rport"]
        if self.ports:
            table = _port_table(self.ports)
            yield table[local] | table[remote]
        if self.local_ports:
            yield _port_table(self.local_ports)[local]
        if self.remote_ports:
            yield _port_table(self.remote_ports)[remote]
        if self.nets:
            yield (rows["flags"] & F_ADDR != 0) & (
                _in_nets(rows["laddr"], rows["family"], self.nets)
                | _in_nets(rows["raddr"], rows["family"], self.nets)
            )
        if self.netns is not None:
            yield np.isin(rows["netns"], [*self.netns])
        if self.pids:
            yield np.isin(rows["pid"], [*self.pids])
        if self.comms:
            yield _by_value(rows["comm"], lambda comm: _comm_matches(comm, self.comms))
        if self.cgroups:
            yield _by_value(rows["cgroup"], lambda id_: below(cgroup_path(id_), self.cgroups))
        if self.containers:
            yield _by_value(rows["cgroup"], lambda id_: belongs(cgroup_path(id_), self.containers))

    def empty(self) -> bool:
        """Says nothing."""
        return not any(getattr(self, field.name) for field in fields(Criteria))


@lru_cache(maxsize=8)
def _port_table(ranges: tuple[PortRange, ...]) -> Mask:
    """For each port: is it in one of the ranges?"""
    table = np.zeros(_PORTS, np.bool_)
    for low, high in ranges:
        table[low : high + 1] = True
    return table


@lru_cache(maxsize=8)
def _by_prefix(nets: tuple[Network, ...]) -> Sequence[tuple[bool, NDArray[np.uint8], NDArray[Any]]]:
    """Networks of one family and length as one set: (is IPv4, netmask, prefixes as fixed bytes)."""
    found: dict[tuple[bool, bytes], list[bytes]] = {}
    for net in nets:
        key = isinstance(net, IPv4Network), net.netmask.packed
        found.setdefault(key, []).append(net.network_address.packed)
    return tuple(
        (four, np.frombuffer(mask, "u1"), np.array(prefixes, f"S{len(mask)}"))
        for (four, mask), prefixes in found.items()
    )


def _in_nets(
    addresses: NDArray[np.uint8], family: NDArray[np.uint8], nets: tuple[Network, ...]
) -> Mask:
    """Addresses of shape (n, 16) as the record has them; IPv4-mapped ones count as IPv4."""
    keep = np.zeros(len(addresses), dtype=np.bool_)
    mapped = (family == _INET6) & (addresses[:, :12] == _MAPPED_PREFIX).all(axis=1)
    # The sixteen bytes of every address in IPv6 form; a mapped one keeps its four bytes in front.
    whole = np.where(mapped[:, None], np.roll(addresses, 4, axis=1), addresses)
    is_v4 = mapped | (family == _INET)
    is_v6 = (family == _INET6) & ~mapped
    for four, mask, prefixes in _by_prefix(nets):
        size = len(mask)
        # Fixed bytes compare as if filled up with zeros: right, for they are all of one length.
        begins = np.ascontiguousarray(whole[:, :size] & mask).view(f"S{size}")[:, 0]
        keep |= np.isin(begins, prefixes) & (is_v4 if four else is_v6)
    return keep


def _by_value(column: NDArray[Any], wanted: Callable[[Any], bool]) -> Mask:
    """Ask once for each different value of a column."""
    values, which = np.unique(column, return_inverse=True)
    answers = np.fromiter((wanted(value) for value in values.tolist()), np.bool_, len(values))
    return answers[which]


def _comm_matches(comm: bytes, patterns: Iterable[str]) -> bool:
    names = spellings(comm)
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def below(path: str | None, parents: Iterable[str]) -> bool:
    """Is this cgroup one of those, or below one of them? Paths without a final slash.

    ``parents`` may be written as they are printed.
    """
    names = () if path is None else {path, visible(path)}
    return any(
        name == parent or name.startswith(f"{parent}/") for parent in parents for name in names
    )
