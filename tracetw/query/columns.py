# SPDX-License-Identifier: Apache-2.0
"""Batches as Arrow tables: the columns of the views ``closes``, ``timewait`` and ``drops``.

Texts are dictionary-encoded: each different one is made once a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields, measures
from tracetw.event.names import KernelNames
from tracetw.event.record import F_ADDR, F_EXITING, F_RST_REASON, EventKind
from tracetw.host.cgroup import container
from tracetw.recording.reader import Recording
from tracetw.report.count.cube import group
from tracetw.report.count.keys import address, addresses
from tracetw.sink.close_columns import bytes_received
from tracetw.sink.close_document import OWNERS
from tracetw.sink.event_document import event_name
from tracetw.stream.batch import Closes
from tracetw.text import decoded, well_formed
from tracetw.verdict.evidence import evidence_names, missing_names
from tracetw.verdict.findings import UNKNOWN
from tracetw.verdict.hints import hint_names
from tracetw.verdict.taxonomy import (
    CLOSED_BY,
    CONFIDENCE,
    FIRST_CLOSE,
    FORMS,
    LIMITS,
    RESET_DIRECTIONS,
    TIME_WAIT,
    VERDICTS,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["closes_table", "events_table"]

_ADDRESS = np.dtype([("hi", "<u8"), ("lo", "<u8")])
_CODES = [verdict.code for verdict in VERDICTS]
_KINDS = {kind.value: kind.name.lower() for kind in EventKind}
_MS = 1_000_000
_SIGNAL_BITS = 127


def closes_table(recording: Recording, part: Closes) -> pa.Table:
    """One row for each connection."""
    import pyarrow as pa  # noqa: PLC0415 (optional)

    rows, findings = part.rows, part.findings
    names = recording.header.names
    known = (rows["flags"] & F_ADDR) != 0
    abnormal = np.array([verdict.abnormal for verdict in VERDICTS])[findings.verdict]
    exiting = (rows["flags"] & F_EXITING) != 0
    past_tcp, unread = fields.past_tcp(rows), fields.bytes_unread(rows)
    columns: dict[str, Any] = {
        **_common(recording, rows, part.at, known),
        "uid": rows["uid"],
        "user": _texts(rows["uid"], recording.user),
        "first_close": _listed(FIRST_CLOSE, findings.first_close),
        "form": _listed(FORMS, findings.form),
        "verdict": _listed(_CODES, findings.verdict),
        "abnormal": abnormal,
        "closed_by": _listed(CLOSED_BY, findings.closed_by),
        "exit_code": _numbers(rows["exit_code"] >> 8 & 255, exiting & ~_signalled(rows)),
        "exit_signal": _texts(
            np.where(exiting, rows["exit_code"], 0), lambda code: fields.exit_status(code)[1]
        ),
        "time_wait": _listed(TIME_WAIT, findings.time_wait),
        "states": _texts(rows["path"], lambda path: " ".join(fields.state_names(path, names))),
        "duration_ms": _milliseconds(fields.duration_ns(rows)),
        "teardown_ms": _milliseconds(fields.teardown_ns(rows)),
        "half_closed_ms": _milliseconds(measures.half_closed_ns(rows)),
        "bytes_sent": _numbers(fields.bytes_sent(rows), ~past_tcp),
        "bytes_received": _numbers(bytes_received(rows), ~past_tcp),
        "bytes_unread": _numbers(unread, unread >= 0),
        "bytes_unacked": fields.bytes_unacked(rows),
        **_measures(rows, names),
        "retransmits": rows["total_retrans"],
        "fin_retransmits": rows["fin_retrans"],
        "last_rto_ms": fields.rto_ms(rows, names),
        "backoff": rows["backoff"],
        "probes": rows["probes_out"],
        "limit_name": _listed(LIMITS, findings.limit),
        "limit_value": _numbers(findings.limit_value, findings.limit_value >= 0),
        "limit_elapsed_ms": _numbers(findings.limit_elapsed_ms, findings.limit_elapsed_ms >= 0),
        "reset_direction": _listed(RESET_DIRECTIONS, findings.reset_direction),
        "reset_reason": _texts(
            np.where((rows["flags"] & F_RST_REASON) != 0, rows["reset_reason"].astype("i2"), -1),
            names.reset_reasons.get,
        ),
        "error": _texts(findings.error, fields.error_name),
        "hints": _texts(findings.hints, lambda mask: " ".join(hint_names(mask)) or None),
        "confidence": _listed(CONFIDENCE, findings.confidence),
        "evidence": _texts(findings.evidence, lambda mask: " ".join(evidence_names(mask))),
        "missing": _texts(findings.missing, lambda mask: " ".join(missing_names(mask)) or None),
    }
    return pa.table(columns)


def _measures(rows: NDArray[Any], names: KernelNames) -> dict[str, Any]:
    """Of ``event.measures``, null where unknown."""
    counts = {
        "idle_ms": measures.idle_ms(rows, names),
        "since_sent_ms": measures.since_sent_ms(rows, names),
        "since_received_ms": measures.since_received_ms(rows, names),
        "bytes_acked": measures.bytes_acked(rows),
        "bytes_unsent": measures.bytes_unsent(rows),
        "segments_received": measures.segments_received(rows),
        "mss": measures.mss(rows),
    }
    on = measures.keepalive(rows)
    return {
        **{name: _numbers(column, column >= 0) for name, column in counts.items()},
        "keepalive": _numbers(on > 0, on >= 0),
        "rtt_ms": _milliseconds(measures.rtt_us(rows) * 1000),
        "min_rtt_ms": _milliseconds(measures.min_rtt_us(rows) * 1000),
    }


def events_table(recording: Recording, rows: NDArray[Any]) -> pa.Table:
    """One row for each single event."""
    import pyarrow as pa  # noqa: PLC0415 (optional)

    at = rows["at"].astype(np.int64)
    age = at - rows["born"].astype(np.int64)
    codes = rows["kind"].astype(np.uint16) << 8 | rows["code"]
    names = recording.header.names
    columns = {
        **_common(recording, rows, recording.clock.to_wall_ns(at), (rows["flags"] & F_ADDR) != 0),
        "kind": _texts(rows["kind"], _KINDS.get),
        "event": _texts(codes, lambda code: event_name(code >> 8, code & 255)),
        "age_ms": _milliseconds(np.where((rows["born"] > 0) & (age >= 0), age, -1)),
        "state": _texts(rows["from"], names.tcp_states.get),
        "to_state": _texts(rows["to"], names.tcp_states.get),
        "reason": _texts(rows["reason"], names.drop_reasons.get),
        "backoff": rows["backoff"],
        "rto_ms": fields.jiffies_to_ms(rows["rto"], names),
    }
    return pa.table(columns)


def _common(
    recording: Recording, rows: NDArray[Any], at: NDArray[np.int64], known: NDArray[np.bool_]
) -> dict[str, Any]:
    import pyarrow as pa  # noqa: PLC0415

    return {
        "time": pa.array(at // 1000, pa.timestamp("us")),
        "time_ns": at,
        "host": _constant(recording.header.host, len(rows)),
        "netns": rows["netns"],
        "family": _numbers(fields.families(rows), known),
        "local_addr": _addresses(rows, "laddr"),
        "local_port": _numbers(rows["lport"], known),
        "remote_addr": _addresses(rows, "raddr"),
        "remote_port": _numbers(rows["rport"], known),
        "role": _listed(fields.ROLES, fields.role(rows)),
        "pid": _numbers(rows["pid"], rows["pid"] != 0),
        "comm": _texts(rows["comm"], lambda comm: decoded(comm) or None),
        "cgroup": _texts(rows["cgroup"], recording.cgroup_path),
        "container": _texts(rows["cgroup"], lambda id_: container(recording.cgroup_path(id_))),
        "owner_from": _texts(rows["owner_from"], OWNERS.get),
    }


def _signalled(rows: NDArray[Any]) -> NDArray[np.bool_]:
    signalled: NDArray[np.bool_] = (rows["exit_code"] & _SIGNAL_BITS) != 0
    return signalled


def _dictionary(codes: NDArray[Any], texts: Iterable[str | None]) -> Any:  # noqa: ANN401
    """Codes into a list of texts; None and codes beyond it are null."""
    import pyarrow as pa  # noqa: PLC0415

    values = list(texts)
    place = np.full(max(len(values), int(codes.max(initial=0)) + 1), -1, np.int32)
    kept: list[str] = []
    for code, text in enumerate(values):
        if text is not None:
            place[code] = len(kept)
            kept.append(well_formed(text))
    indexes = place[codes]
    return pa.DictionaryArray.from_arrays(
        pa.array(indexes, mask=indexes < 0), pa.array(kept, pa.string())
    )


def _listed(texts: Sequence[str | None], codes: NDArray[np.uint8]) -> Any:  # noqa: ANN401
    return _dictionary(np.minimum(codes, UNKNOWN), texts)


def _texts(values: NDArray[Any], text: Callable[[Any], str | None]) -> Any:  # noqa: ANN401
    """The text of each different value."""
    different, which = np.unique(values, return_inverse=True)
    return _dictionary(which, [text(value) for value in different.tolist()])


def _constant(text: str, count: int) -> Any:  # noqa: ANN401
    return _dictionary(np.zeros(count, np.int32), [text])


def _addresses(rows: NDArray[Any], column: str) -> Any:  # noqa: ANN401
    keys = np.zeros(len(rows), _ADDRESS)
    keys["hi"], keys["lo"] = addresses(rows, column)
    groups = group(keys)
    different = keys[groups.firsts].tolist()
    return _dictionary(
        groups.inverse(), [address(high, low) if high or low else None for high, low in different]
    )


def _numbers(values: NDArray[Any], known: NDArray[np.bool_]) -> Any:  # noqa: ANN401
    import pyarrow as pa  # noqa: PLC0415

    return pa.array(values, mask=~known)


def _milliseconds(nanoseconds: NDArray[np.int64]) -> Any:  # noqa: ANN401
    return _numbers(nanoseconds / _MS, nanoseconds >= 0)
