# SPDX-License-Identifier: Apache-2.0
"""What a recording knows of ports and addresses: the service behind a port, names of the host's ``/etc/hosts``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import Rows
from tracetw.host.cgroup import container, unit
from tracetw.query.arrow import texts
from tracetw.recording.facts import Listening
from tracetw.recording.reader import Recording

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["listeners_tables", "service_names"]

_SERVER = fields.ROLES.index("server")
_MOST = 1 << 18
"""Listeners of a recording that are looked at."""
_LOOPBACK4 = 127


def service_names(recording: Recording, rows: Rows) -> Any:  # noqa: ANN401
    """Name of the process that listens on the service's port, of connections whose server is on this host.

    Null where nothing listened in any sample, or processes of different names did.
    """
    known = _services(recording)
    server = fields.role(rows) == _SERVER
    here = server | _to_itself(rows)
    port = np.where(server, rows["lport"], rows["rport"]).astype(np.uint64)
    keys = np.where(here, rows["netns"].astype(np.uint64) << np.uint64(16) | port, np.uint64(0))
    return texts(keys, lambda key: known.get((key >> 16, key & 0xFFFF)))


def _to_itself(rows: Rows) -> NDArray[np.bool_]:
    """Both ends are in one namespace: the same address, or a loopback one."""
    same: NDArray[np.bool_] = (rows["laddr"] == rows["raddr"]).all(axis=1)
    four = fields.families(rows) == 4  # noqa: PLR2004
    first = np.where(rows["family"] == 2, rows["raddr"][:, 0], rows["raddr"][:, 12])  # noqa: PLR2004
    loopback: NDArray[np.bool_] = four & (first == _LOOPBACK4)
    return same | loopback


@lru_cache(maxsize=1)
def _services(recording: Recording) -> Mapping[tuple[int, int], str | None]:
    found: dict[tuple[int, int], str | None] = {}
    for _, one in _different(recording):
        key = (one.netns, one.port)
        if one.comm is not None and found.setdefault(key, one.comm) != one.comm:
            found[key] = None
    return found


def _different(recording: Recording) -> Iterator[tuple[int, Listening]]:
    """Each listener once with the time of the first sample that has it, at most ``_MOST``."""
    seen: set[Listening] = set()
    moments = ((sample.time_ns, sample.listeners) for sample in recording.samples())
    before: tuple[Listening, ...] | None = None
    for time_ns, listeners in ((recording.header.started_ns, recording.header.listeners), *moments):
        if listeners is before:
            continue
        before = listeners
        for one in listeners:
            if one not in seen and len(seen) < _MOST:
                seen.add(one)
                yield time_ns, one


def listeners_tables(recording: Recording) -> Iterator[pa.Table]:
    """Who listened where, each once, with the time of the first sample that has it."""
    import pyarrow as pa  # noqa: PLC0415 (optional)

    found = [*_different(recording)]
    columns: Mapping[str, tuple[list[Any], Any]] = {
        "since": ([at // 1000 for at, _ in found], pa.timestamp("us")),
        "host": ([recording.header.host] * len(found), pa.string()),
        "netns": ([one.netns for _, one in found], pa.int64()),
        "addr": ([one.address for _, one in found], pa.string()),
        "port": ([one.port for _, one in found], pa.uint16()),
        "pid": ([one.pid for _, one in found], pa.uint32()),
        "comm": ([one.comm for _, one in found], pa.string()),
        "uid": ([one.uid for _, one in found], pa.uint32()),
        "cgroup": ([one.cgroup for _, one in found], pa.string()),
        "unit": ([unit(one.cgroup) for _, one in found], pa.string()),
        "container": ([container(one.cgroup) for _, one in found], pa.string()),
    }
    yield pa.table({name: pa.array(cells, type_) for name, (cells, type_) in columns.items()})
