# SPDX-License-Identifier: Apache-2.0
"""What a field of the JSON says, its column says too; a field that has no column is named here."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.unit.report_rows import Memory
from tests.unit.sink_rows import CONTEXT, closes, varied
from tracetw.event import record
from tracetw.query.columns import closes_table
from tracetw.sink.json import JsonSink
from tracetw.stream.batch import Closes

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

RENAMED = {
    "retransmits.total": "retransmits",
    "retransmits.fin": "fin_retransmits",
    "retransmits.last_rto_ms": "last_rto_ms",
    "retransmits.backoff": "backoff",
    "probes.total": "probes",
    "mptcp": "mptcp_role",
    "listener": "service",
}
# Of the line and its wording; SQL has no sentence, and cores and probes follow from signal and verdict.
WITHOUT = {"v", "kind", "why", "exit.core", "probes.what", "reset.reason_from"}
PACKETS = (
    "ttl",
    "icmp_from",
    "refused.segments",
    "refused.reason",
    "reset.direction",
    "reset.ack_flag",
    "reset.ttl",
)


def documents(batch: Closes) -> list[dict[str, Any]]:
    out = io.BytesIO()
    JsonSink(out, CONTEXT).closes(batch)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def table(batch: Closes) -> list[dict[str, Any]]:
    recording = Memory(batch.rows, names=CONTEXT.names)
    return list(closes_table(recording, batch, CONTEXT.known).to_pylist())


def member(document: dict[str, Any], path: str) -> Any:
    name, _, inner = path.partition(".")
    value = document[name]
    return value[inner] if inner and value is not None else value


@pytest.mark.parametrize("path", PACKETS)
def test_columns_of_packets_are_those_of_the_json(path: str) -> None:
    batch = varied(300, 5)
    name = path.replace(".", "_")
    said = [member(document, path) for document in documents(batch)]
    assert [row[name] for row in table(batch)] == said
    assert len({*map(str, said)}) > 1


def test_every_field_of_a_close_has_a_column() -> None:
    batch = closes(
        {"flags": record.F_ADDR | record.F_EXITING, "exit_code": 0x300},
        {"flags": record.F_ADDR | record.F_EXITING, "exit_code": 0x8B},
        {"limit": 1, "reset_direction": 2, "refused": 1},
    )
    found = dict.fromkeys(
        f"{name}.{inner}" if inner else name
        for document in documents(batch)
        for name, value in document.items()
        for inner in (value if isinstance(value, dict) else [""])
    )
    columns = table(batch)[0]
    # Of three documents some have null where others have an object.
    objects = {path.partition(".")[0] for path in found if "." in path}
    wanted = [path for path in found if path not in WITHOUT | objects]
    lacking = [path for path in wanted if RENAMED.get(path, path.replace(".", "_")) not in columns]
    assert lacking == []
