# SPDX-License-Identifier: Apache-2.0
"""What a recording knows of ports and addresses: the service behind a port, names of the host's ``/etc/hosts``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tracetw.event.fields import Rows
from tracetw.host.cgroup import container, unit
from tracetw.query.arrow import texts
from tracetw.recording.reader import Recording
from tracetw.replay.names import listened
from tracetw.stream.known import Known, served_by

if TYPE_CHECKING:
    import pyarrow as pa


def service_names(known: Known, rows: Rows) -> Any:  # noqa: ANN401
    """Name of the process that listens on the service's port, of connections whose server is on this host.

    Null where that was not found out, or processes of different names did.
    """

    def comm(key: int) -> str | None:
        one = known.listeners.get(key)
        return None if one is None else one.comm

    return texts(served_by(rows), comm)


def listeners_tables(recording: Recording) -> Iterator[pa.Table]:
    """Who listened where, each once, with the time of the first sample that has it."""
    import pyarrow as pa  # noqa: PLC0415 (optional)

    found = [*listened(recording)]
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
