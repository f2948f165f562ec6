# SPDX-License-Identifier: Apache-2.0
"""JSON lines: one object per line, as the contract says.

Most rows of a batch have one of a few shapes: same path, same verdict, same facts. The text of a
shape is rendered once and kept; a row then costs one lookup and one ``%``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tracetw.host.cgroup import container
from tracetw.host.clock import rfc3339
from tracetw.sink.close_columns import SHAPE, columns, shapes, why_column
from tracetw.sink.close_document import close_document
from tracetw.sink.event_document import EVENT_SHAPE, event_columns, event_document, event_shapes
from tracetw.sink.output import Output
from tracetw.sink.remembered import Remembered
from tracetw.sink.schema import SCHEMA
from tracetw.sink.template import Slot, Template
from tracetw.stream.batch import Closes, Events, Loss, Scene, Summary
from tracetw.text import decoded, json_line
from tracetw.verdict import explain

__all__ = ["JsonSink"]

# Rows rendered at a time. Their Python objects live together, so this bounds the memory.
_CHUNK = 512
_AT_ONCE = 64
# Templates kept. A host has some dozens of shapes; a template has about 2 KB.
_TEMPLATES = 4096


class _Kind:
    """The templates of one kind of object, and where their columns are in the row tuples.

    A batch may lack columns that no row of it needs, so places are given once and kept.
    """

    def __init__(self, document: Callable[[bytes], Mapping[str, Any]]) -> None:
        self._document = document
        self._places: dict[str, int] = {}
        self._templates: dict[bytes, Template] = {}

    def templates_for(self, keys: list[bytes], values: Mapping[str, Any]) -> dict[bytes, Template]:
        """Templates of all shapes of a batch."""
        for name in values:
            self._places.setdefault(name, len(self._places))
        if len(self._templates) > _TEMPLATES:
            self._templates.clear()
        for key in set(keys).difference(self._templates):
            self._templates[key] = Template(self._document(key), self._places)
        return self._templates

    def tuples(self, values: Mapping[str, Any], count: int) -> Iterator[tuple[Any, ...]]:
        """The rows of a batch, with every column that was ever seen."""
        return zip(*(_listed(values.get(name), count) for name in self._places), strict=True)


class JsonSink:
    """Writes JSON lines.

    Args:
        out: where to.
        scene: what stays the same during the trace.
    """

    def __init__(self, out: BinaryIO, scene: Scene) -> None:
        self._out = Output(out)
        self._scene = scene
        self._comms: Remembered[bytes, str] = Remembered(lambda comm: json_line(decoded(comm)))
        self._closes = _Kind(self._close_document)
        self._events = _Kind(self._event_document)

    def head(self) -> None:
        """Nothing comes before the lines."""

    def closes(self, batch: Closes) -> None:
        """One line per finished connection."""
        for part in batch.parts(_CHUNK):
            why = explain.plan(part.rows, part.findings, self._scene.names)
            values = columns(part, self._scene.names)
            keys = shapes(part, values, why.template)
            values |= {why_column(name): column for name, column in why.columns.items()}
            self._write(part.rows, values, keys, self._closes)

    def events(self, batch: Events) -> None:
        """One line per single event."""
        for part in batch.parts(_CHUNK):
            values = event_columns(part, self._scene.names)
            keys = event_shapes(part)
            self._write(part.rows, values, keys, self._events)

    def loss(self, loss: Loss) -> None:
        """A ``loss`` line."""
        self._write_object(
            "loss",
            loss.until_ns,
            {
                "records": loss.records,
                "where": loss.where,
                "since": rfc3339(loss.since_ns),
                "until": rfc3339(loss.until_ns),
            },
        )

    def summary(self, summary: Summary) -> None:
        """The ``summary`` line: always the last."""
        self._write_object(
            "summary",
            summary.time_ns,
            {
                "duration_ms": round(summary.duration_s * 1000),
                "closes": dict(summary.closes),
                "lost": summary.lost,
                "reconciliation": [dict(row) for row in summary.reconciliation],
            },
        )

    def _write(
        self, rows: NDArray[Any], values: dict[str, Any], keys: list[bytes], kind: _Kind
    ) -> None:
        """Fill in the template of every row and write all lines at once."""
        groups = rows["cgroup"].tolist()
        texts = {group: self._cgroup(group) for group in set(groups)}
        values["comm"] = [self._comms[comm] for comm in rows["comm"].tolist()]
        values["cgroup"] = [texts[group][0] for group in groups]
        values["container"] = [texts[group][1] for group in groups]
        templates = kind.templates_for(keys, values)
        filled = zip(keys, kind.tuples(values, len(rows)), strict=True)
        lines = bytearray()
        # Some lines at a time: their memory is used again at once and stays in the cache, where
        # one large string would cost more in page faults than all formatting.
        while some := [templates[key].fill(row) for key, row in islice(filled, _AT_ONCE)]:
            lines += "".join(some).encode()
        if lines:
            self._out.write(lines)

    def _close_document(self, key: bytes) -> Mapping[str, Any]:
        shape = np.frombuffer(key, dtype=SHAPE)[0]
        why = explain.template(int(shape["why"]))
        sentence = Slot(f'"{why.form}"', tuple(map(why_column, why.columns)))
        return close_document(shape, self._scene.host, self._scene.names, sentence)

    def _event_document(self, key: bytes) -> Mapping[str, Any]:
        shape = np.frombuffer(key, dtype=EVENT_SHAPE)[0]
        return event_document(shape, self._scene.host, self._scene.names)

    def _cgroup(self, group: int) -> tuple[str, str]:
        """Path and container of a cgroup id, as JSON. Not kept: a path may become known later."""
        path = self._scene.cgroup_path(group) if group else None
        return json_line(path), json_line(container(path))

    def _write_object(self, kind: str, time_ns: int, own: Mapping[str, Any]) -> None:
        common = {
            "v": SCHEMA,
            "kind": kind,
            "time": rfc3339(time_ns),
            "host": self._scene.host,
            "netns": self._scene.netns,
        }
        self._out.write(f"{json_line({**common, **own})}\n".encode())


def _listed(column: Any, count: int) -> list[Any]:  # noqa: ANN401 (array, list or nothing)
    if column is None:
        return [None] * count
    listed: list[Any] = column.tolist() if isinstance(column, np.ndarray) else list(column)
    return listed
