# SPDX-License-Identifier: Apache-2.0
"""Close records as columns for JSON: what differs from row to row, and what makes a shape.

Rows of one shape have the same text but for the values of ``columns``. The shape of a row is a
bytes object, so that finding its template is one lookup in a dictionary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields, measures
from tracetw.event.names import KernelNames
from tracetw.event.record import (
    F_ADDR,
    F_CLOSED,
    F_DONE,
    F_EXITING,
    F_MISSED,
    F_RST_ACK,
    F_RST_ACK_KNOWN,
    F_RST_OUT,
    F_RST_REASON,
    PATH_MAX,
    T_ICMP,
)
from tracetw.host.clock import rfc3339_all
from tracetw.sink.template import split_millis
from tracetw.stream.batch import Closes

__all__ = [
    "KNOWN",
    "MAYBE_ZERO",
    "SHAPE",
    "WINDOW",
    "bytes_received",
    "columns",
    "hint_column",
    "shapes",
    "why_column",
]

MAYBE_ZERO = (
    "bytes_sent",
    "bytes_received",
    "bytes_unread",
    "bytes_unacked",
    "total_retrans",
    "fin_retrans",
    "backoff",
    "probes_out",
)
"""Columns that are 0 in most rows: a 0 belongs to the shape and is not filled in."""

KNOWN = {
    name: 1 << bit
    for bit, name in enumerate(
        (
            *(f"at{place}" for place in range(PATH_MAX)),
            "time",
            "address",
            "pid",
            "comm",
            "duration",
            "teardown",
            "half_closed",
            "queues",
            "unread",
            "payload",
            "rto",
            "limit_value",
            "limit_elapsed",
            "mptcp",
            "refused",
            "icmp_from",
            "lname",
            "rname",
            "listener",
        )
    )
}
"""Bits of ``known`` in a shape: what is not null."""

WINDOW = 2
"""``probe`` of a shape: 0 none, 1 keepalive, 2 zero window."""

_FROM_FINDINGS = (
    "verdict",
    "form",
    "first_close",
    "closed_by",
    "time_wait",
    "confidence",
    "reset_direction",
    "limit",
    "error",
)
SHAPE = np.dtype(
    [
        ("evidence", "<u8"),
        ("path", "<u4"),
        ("known", "<u4"),
        ("flags", "<u4"),
        ("exit_code", "<u4"),
        ("missing", "<u4"),
        ("why", "<u4"),
        ("hints", "<u4"),
        ("zero", "<u2"),
        *((name, "u1") for name in _FROM_FINDINGS),
        ("reset_reason", "u1"),
        ("family", "u1"),
        ("role", "u1"),
        ("owner_from", "u1"),
        ("layer", "u1"),
        ("ttl", "u1"),
        ("rst_ttl", "u1"),
        ("probe", "u1"),
    ]
)

_FLAGS = F_EXITING | F_RST_OUT | F_RST_REASON | F_RST_ACK_KNOWN | F_RST_ACK
_SPANS = (*(f"at{place}" for place in range(1, PATH_MAX)), "duration", "teardown", "half_closed")
_AT_BITS = np.array([KNOWN[f"at{place}"] for place in range(PATH_MAX)], dtype=np.uint32)


def bytes_received(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Payload received in order.

    ``tcp_sock.bytes_received`` grows with ``rcv_nxt`` (tcp_rcv_nxt_update), so the peer's FIN is
    one of it.
    """
    fin = (rows["flags"] & F_DONE) != 0
    received: NDArray[np.int64] = np.maximum(rows["bytes_received"].astype(np.int64) - fin, 0)
    return received


def columns(batch: Closes, names: KernelNames) -> dict[str, Any]:
    """Arrays or lists of the batch's length: times, addresses and numbers of every row.

    Values that are unknown are there, but meaningless: the shape says what is known.
    """
    rows, findings = batch.rows, batch.findings
    at = rows["at"].astype(np.int64)
    end = fields.end_ns(rows)
    start = np.where(at > 0, at, np.iinfo(np.int64).max).min(axis=1)
    result: dict[str, Any] = {
        "time": rfc3339_all(batch.clock.to_wall_ns(end)),
        "laddr": fields.address_texts(rows, "laddr"),
        "raddr": fields.address_texts(rows, "raddr"),
        "lport": rows["lport"],
        "rport": rows["rport"],
        "netns": rows["netns"],
        "pid": rows["pid"],
        "uid": rows["uid"],
        "bytes_sent": fields.bytes_sent(rows),
        "bytes_received": bytes_received(rows),
        "bytes_unread": fields.bytes_unread(rows),
        "bytes_unacked": fields.bytes_unacked(rows),
        "total_retrans": rows["total_retrans"],
        "fin_retrans": rows["fin_retrans"],
        "backoff": rows["backoff"],
        "probes_out": rows["probes_out"],
        "rto": fields.rto_ms(rows, names),
        "limit_value": findings.limit_value,
        "limit_elapsed": findings.limit_elapsed_ms,
        "end": end,  # not printed
    }
    # The first state known is at 0 by definition, so place 0 needs no column.
    since = np.maximum(at[:, 1:] - start[:, None], 0).T
    whole = [fields.duration_ns(rows), fields.teardown_ns(rows), measures.half_closed_ns(rows)]
    spans = np.concatenate((since, whole))
    return result | split_millis(_SPANS, spans)


def why_column(name: str) -> str:
    """Name here of a column that a sentence needs."""
    return f"why_{name}"


def hint_column(name: str) -> str:
    """Name here of a column that the sentence of a hint needs."""
    return f"hint_{name}"


def shapes(batch: Closes, values: dict[str, Any], why: NDArray[np.uint32]) -> list[bytes]:
    """The shape of every row: the bytes of one ``SHAPE`` each.

    Args:
        batch: n rows.
        values: their ``columns``.
        why: the number of each row's sentence.
    """
    rows, findings = batch.rows, batch.findings
    flags: NDArray[np.uint32] = rows["flags"]
    shape = np.zeros(len(rows), dtype=SHAPE)
    for name in (*_FROM_FINDINGS, "evidence", "missing", "hints"):
        shape[name] = getattr(findings, name)
    for name in ("path", "reset_reason", "owner_from", "layer", "ttl", "rst_ttl"):
        shape[name] = rows[name]
    shape["why"] = why
    shape["flags"] = flags & _FLAGS
    shape["exit_code"] = np.where(flags & F_EXITING, rows["exit_code"], 0)
    shape["family"] = fields.families(rows)
    shape["role"] = fields.role(rows)
    # Window probes are what is sent while something waits in the queue; keepalives when nothing is.
    waiting = (rows["probing"] > 0) | (rows["write_seq"] != rows["snd_una"])
    shape["probe"] = np.where(rows["probes_out"] > 0, 1 + waiting, 0)
    zero = np.zeros(len(rows), dtype=np.uint16)
    for bit, name in enumerate(MAYBE_ZERO):
        zero |= (values[name] == 0).astype(np.uint16) << np.uint16(bit)
    shape["zero"] = zero
    no = np.uint32(0)
    known = (rows["at"] > 0) @ _AT_BITS
    for name, mask in (
        ("time", values["end"] > 0),
        ("address", flags & F_ADDR),
        ("pid", rows["pid"]),
        ("comm", rows["comm"] != b""),
        ("duration", values["duration_ms"] >= 0),
        ("teardown", values["teardown_ms"] >= 0),
        ("half_closed", values["half_closed_ms"] >= 0),
        ("queues", flags & (F_CLOSED | F_MISSED)),
        ("unread", values["bytes_unread"] >= 0),
        ("payload", ~fields.past_tcp(rows)),
        ("rto", rows["rto"]),
        ("limit_value", findings.limit_value >= 0),
        ("limit_elapsed", findings.limit_elapsed_ms >= 0),
        ("mptcp", rows["mptcp_flags"]),
        ("refused", rows["refused"]),
        ("icmp_from", rows["traits"] & T_ICMP),
        # Nulls are in these columns, too: shapes are made for what a whole batch has.
        ("lname", flags & F_ADDR if "lname" in values else no),
        ("rname", flags & F_ADDR if "rname" in values else no),
        ("listener", "listener" in values),
    ):
        known |= np.where(mask, np.uint32(KNOWN[name]), np.uint32(0))
    shape["known"] = known
    keys: list[bytes] = shape.view(f"V{SHAPE.itemsize}").tolist()
    return keys
