# SPDX-License-Identifier: Apache-2.0
"""Samples as Arrow tables, one row for each value, and what was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from tracetw.recording.facts import ByNetns, Sample
from tracetw.recording.reader import Recording

if TYPE_CHECKING:
    import pyarrow as pa

WHOLE = 1_000_000
"""Rows after which samples are no longer whole: only what changed since the one before is a row.

A sample of every namespace every ten seconds comes to more in a day, and a few bytes of a recording
can stand for as many as it likes.
"""
_TABLE = 1 << 17


def counters_tables(recording: Recording) -> Iterator[pa.Table]:
    """The kernel's counters at each sample."""
    return _tables(recording, recording.header.counters, lambda sample: sample.counters)


def sysctls_tables(recording: Recording) -> Iterator[pa.Table]:
    """Teardown settings at each sample."""
    return _tables(recording, recording.header.sysctls, lambda sample: sample.sysctls)


def losses_tables(recording: Recording) -> Iterator[pa.Table]:
    """Records that happened and are not in the recording, as far as its recorder knew."""
    import pyarrow as pa  # noqa: PLC0415 (optional)

    losses = recording.losses()
    columns: Mapping[str, tuple[list[Any], Any]] = {
        "host": ([recording.header.host] * len(losses), pa.string()),
        "since": ([loss.since_ns // 1000 for loss in losses], pa.timestamp("us")),
        "until": ([loss.until_ns // 1000 for loss in losses], pa.timestamp("us")),
        "records": ([loss.records for loss in losses], pa.int64()),
        "lost_in": ([loss.where for loss in losses], pa.string()),
    }
    yield pa.table({name: pa.array(cells, type_) for name, (cells, type_) in columns.items()})


def _tables(
    recording: Recording, first: ByNetns, values: Callable[[Sample], ByNetns]
) -> Iterator[pa.Table]:
    header = recording.header
    columns = _Columns(header.host)
    yield columns.table()
    before = first
    count = columns.add("header", header.started_ns, first)
    for sample in recording.samples():
        now = values(sample)
        shown = now if count < WHOLE else _changes(before, now, sample.changed)
        before = now
        count += columns.add(sample.moment, sample.time_ns, shown)
        if len(columns) >= _TABLE:
            yield columns.table()
    yield columns.table()


def _changes(before: ByNetns, now: ByNetns, changed: Iterable[int] | None) -> ByNetns:
    """What is new, in the time of what may be new."""
    if before is now:
        return {}
    return {
        netns: dict(now.get(netns, {}).items() - before.get(netns, {}).items())
        for netns in (now if changed is None else changed)
    }


class _Columns:
    """Rows that are waiting to become a table."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._samples: list[tuple[int, str, int]] = []
        self._netns: list[int] = []
        self._names: list[str] = []
        self._values: list[int] = []

    def __len__(self) -> int:
        return len(self._values)

    def add(self, moment: str, time_ns: int, by_netns: ByNetns) -> int:
        """Add the rows of a sample; returns how many."""
        count = len(self._values)
        for netns, named in by_netns.items():
            self._netns.extend(repeat(netns, len(named)))
            self._names.extend(named)
            self._values.extend(named.values())
        count = len(self._values) - count
        self._samples.append((time_ns // 1000, moment, count))
        return count

    def table(self) -> pa.Table:
        """All of them; none is waiting afterwards."""
        import pyarrow as pa  # noqa: PLC0415 (optional)

        times = chain.from_iterable(repeat(at, count) for at, _, count in self._samples)
        moments = chain.from_iterable(repeat(name, count) for _, name, count in self._samples)
        columns: Mapping[str, tuple[list[Any], Any]] = {
            "time": ([*times], pa.timestamp("us")),
            "host": ([self._host] * len(self), pa.string()),
            "moment": ([*moments], pa.string()),
            "netns": (self._netns, pa.int64()),
            "name": (self._names, pa.string()),
            "value": (self._values, pa.int64()),
        }
        table = pa.table({name: pa.array(cells, type_) for name, (cells, type_) in columns.items()})
        self._samples, self._netns, self._names, self._values = [], [], [], []
        return table
