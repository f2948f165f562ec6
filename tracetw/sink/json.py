# SPDX-License-Identifier: Apache-2.0
"""JSON lines: one object per line, as the contract says.

Most rows of a batch have one of a few shapes: same path, same verdict, same facts. The constant text of
a shape is rendered once and kept (``template``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tracetw.host.cgroup import container, unit
from tracetw.host.clock import rfc3339
from tracetw.sink import rare
from tracetw.sink.close_columns import SHAPE, columns, hint_column, shapes, why_column
from tracetw.sink.close_document import close_document
from tracetw.sink.coded import coded, distinct
from tracetw.sink.event_document import EVENT_SHAPE, event_columns, event_document, event_shapes
from tracetw.sink.known import listener_texts, name_columns
from tracetw.sink.mptcp import mptcp_texts
from tracetw.sink.output import Output, missing
from tracetw.sink.remembered import Remembered
from tracetw.sink.schema import SCHEMA
from tracetw.sink.template import JOINED, Slot, Template, render
from tracetw.stream.batch import Closes, Context, Events, Loss, Summary
from tracetw.text import decoded, json_line
from tracetw.verdict import explain, hint_text

# Rows rendered at a time. Their Python objects live together, so this bounds the memory; more do not
# stay in the cache.
_CHUNK = 4096
# Templates kept. A host has some dozens of shapes; a template has about 2 KB.
_TEMPLATES = 4096


class _Templates:
    """The templates of one kind of object, made when a shape is first seen."""

    def __init__(self, document: Callable[[bytes], Mapping[str, Any]]) -> None:
        self._made: Remembered[bytes, Template] = Remembered(
            lambda key: Template(document(key)), _TEMPLATES
        )

    def of(self, keys: NDArray[np.void]) -> tuple[list[Template], NDArray[np.intp]]:
        """The templates of a batch, and for each row the index of its own."""
        some, which = distinct(keys)
        return [self._made[key] for key in keys[some].tolist()], which


class _Values:
    """The columns and shapes of rows."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def closes(self, part: Closes) -> tuple[dict[str, Any], NDArray[np.void]]:
        """Of finished connections."""
        why = explain.plan(part.rows, part.findings, self._context.names)
        values = columns(part, self._context.names)
        values |= name_columns(part.rows, values["families"], self._context.known)
        listening = listener_texts(part.rows, self._context.known)
        if listening is not None:
            values["listener"] = listening
        keys = shapes(part, values, why.template)
        values |= {why_column(name): column for name, column in why.columns.items()}
        hints = hint_text.columns(part.rows, part.findings, self._context.names)
        values |= {hint_column(name): column for name, column in hints.items()}
        values |= rare.columns(part.rows, self._context.names)
        if part.rows["mptcp_flags"].any():
            values["mptcp"] = mptcp_texts(part, self._context.names)
        return self._named(part.rows, values), keys

    def events(self, part: Events) -> tuple[dict[str, Any], NDArray[np.void]]:
        """Of single events."""
        values = event_columns(part, self._context.names)
        values |= name_columns(part.rows, values["families"], self._context.known)
        return self._named(part.rows, values), event_shapes(part, values)

    def close_document(self, key: bytes) -> Mapping[str, Any]:
        """Of the shape of a finished connection."""
        shape = np.frombuffer(key, dtype=SHAPE)[0]
        why = explain.template(int(shape["why"]))
        more = hint_text.phrase(int(shape["hints"]), int(shape["first_close"]), int(shape["form"]))
        sentence = Slot(
            f'"{why.form}{more.form}"',
            (*map(why_column, why.columns), *map(hint_column, more.columns)),
        )
        return close_document(shape, self._context.host, self._context.names, sentence)

    def event_document(self, key: bytes) -> Mapping[str, Any]:
        """Of the shape of a single event."""
        shape = np.frombuffer(key, dtype=EVENT_SHAPE)[0]
        return event_document(shape, self._context.host, self._context.names)

    def _named(self, rows: NDArray[Any], values: dict[str, Any]) -> dict[str, Any]:
        values["comm"] = coded(rows["comm"], _comm)
        values["group"] = coded(rows["cgroup"], self._cgroup)
        return values

    def _cgroup(self, group: int) -> bytes:
        """The members of ``GROUP`` of a cgroup id, as JSON. Not kept: a path may become known later."""
        path = self._context.cgroup_path(group) if group else None
        members = {"cgroup": path, "unit": unit(path), "container": container(path)}
        return json_line(members)[1:-1].encode()


def _comm(comm: bytes) -> bytes:
    return json_line(decoded(comm) if comm else None).encode()


class JsonSink:
    """Writes JSON lines.

    Args:
        out: where to.
        context: what stays the same during the trace.
    """

    def __init__(self, out: BinaryIO, context: Context) -> None:
        self._out = Output(out, context.stop)
        self._context = context
        self._values = _Values(context)
        self._closes = _Templates(self._values.close_document)
        self._events = _Templates(self._values.event_document)

    def head(self) -> None:
        """Nothing comes before the lines."""

    def closes(self, batch: Closes) -> None:
        """One line per finished connection."""
        if not (left := len(batch.rows)):
            return
        for part in batch.parts(_CHUNK):
            left -= len(part.rows)
            self._write(*self._values.closes(part), self._closes, left)

    def events(self, batch: Events) -> None:
        """One line per single event."""
        if not (left := len(batch.rows)):
            return
        for part in batch.parts(_CHUNK):
            left -= len(part.rows)
            self._write(*self._values.events(part), self._events, left)

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
                "no_room": summary.no_room and asdict(summary.no_room),
                "reconciliation": [dict(row) for row in summary.reconciliation],
                "not_reconciled": summary.not_reconciled,
            },
        )

    def _write(
        self, values: dict[str, Any], keys: NDArray[np.void], made: _Templates, later: int
    ) -> None:
        """Render the lines of some rows and write them; ``later``: rows that come behind these."""
        left = len(keys)
        for lines in render(*made.of(keys), values):
            left = max(left - JOINED, 0)
            with missing(left + later):
                self._out.write(lines)

    def _write_object(self, kind: str, time_ns: int, own: Mapping[str, Any]) -> None:
        common = {
            "v": SCHEMA,
            "kind": kind,
            "time": rfc3339(time_ns),
            "host": self._context.host,
            "netns": self._context.netns,
        }
        self._out.write(f"{json_line({**common, **own})}\n".encode())


def close_objects(batch: Closes, context: Context) -> list[Mapping[str, Any]]:
    """The objects of finished connections, for those who do not write lines."""
    if not len(batch.rows):
        return []
    described = _Values(context)
    values, keys = described.closes(batch)
    lines = b"".join(render(*_Templates(described.close_document).of(keys), values))
    return [json.loads(line) for line in lines.splitlines()]
