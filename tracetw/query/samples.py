# SPDX-License-Identifier: Apache-2.0
"""Samples as Arrow tables: the views ``counters`` and ``sysctls``, one row for each value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tracetw.recording.facts import ByNetns, Sample
from tracetw.recording.reader import Recording

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["counters_table", "sysctls_table"]


def counters_table(recording: Recording) -> pa.Table:
    """The kernel's counters at each sample."""
    return _table(recording, recording.header.counters, lambda sample: sample.counters)


def sysctls_table(recording: Recording) -> pa.Table:
    """Teardown settings at each sample."""
    return _table(recording, recording.header.sysctls, lambda sample: sample.sysctls)


def _table(recording: Recording, first: ByNetns, values: Callable[[Sample], ByNetns]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 (optional)

    header = recording.header
    samples = [("header", header.started_ns, first)]
    samples += [(one.moment, one.time_ns, values(one)) for one in recording.samples()]
    rows: dict[str, list[Any]] = {
        name: [] for name in ("time", "host", "moment", "netns", "name", "value")
    }
    for moment, time_ns, by_netns in samples:
        for netns, named in by_netns.items():
            for name, value in named.items():
                row = (time_ns // 1000, header.host, moment, netns, name, value)
                for column, cell in zip(rows.values(), row, strict=True):
                    column.append(cell)
    types = (
        pa.timestamp("us"),
        pa.string(),
        pa.string(),
        pa.int64(),
        pa.string(),
        pa.int64(),
    )
    return pa.table(
        {
            name: pa.array(cells, type_)
            for (name, cells), type_ in zip(rows.items(), types, strict=True)
        }
    )
