# SPDX-License-Identifier: Apache-2.0
"""Close records as columns for JSON: what differs from row to row, and what makes a shape.

Rows of one shape have the same text but for the values of ``columns``. The shape of a row is a
bytes object, so that finding its template is one lookup in a dictionary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.names import KernelNames
from tracetw.event.record import (
    F_ADDR,
    F_EXITING,
    F_RST_ACK,
    F_RST_ACK_KNOWN,
    F_RST_OUT,
    F_RST_REASON,
    T_ICMP,
)
from tracetw.sink import measures
from tracetw.sink.addresses import address_columns
from tracetw.stream.batch import Closes
from tracetw.verdict.findings import TEXTS

KNOWN = {
    name: 1 << bit
    for bit, name in enumerate(
        ("time", "address", "mptcp", "refused", "icmp_from", "lname", "rname", "listener")
    )
}
"""Bits of ``known`` in a shape: what is not null. Of other columns the value says it."""

WINDOW = 2
"""``probe`` of a shape: 0 none, 1 keepalive, 2 zero window."""

_FROM_FINDINGS = (*TEXTS, "error")
SHAPE = np.dtype(
    [
        ("evidence", "<u8"),
        ("path", "<u4"),
        ("flags", "<u4"),
        ("exit_code", "<u4"),
        ("missing", "<u4"),
        ("why", "<u4"),
        ("hints", "<u4"),
        *((name, "u1") for name in _FROM_FINDINGS),
        ("reset_reason", "u1"),
        ("family", "u1"),
        ("role", "u1"),
        ("owner_from", "u1"),
        ("layer", "u1"),
        ("ttl", "u1"),
        ("rst_ttl", "u1"),
        ("probe", "u1"),
        ("known", "u1"),
    ],
    align=True,
)

_FLAGS = F_EXITING | F_RST_OUT | F_RST_REASON | F_RST_ACK_KNOWN | F_RST_ACK


def columns(batch: Closes, names: KernelNames) -> dict[str, Any]:
    """Arrays of the batch's length: times, addresses and numbers of every row; -1 where unknown.

    Those that the shape speaks of (``KNOWN``) are meaningless where it says that they are unknown.
    """
    rows = batch.rows
    end, families, pid = fields.end_ns(rows), fields.families(rows), rows["pid"]
    result: dict[str, Any] = {
        "time": batch.clock.to_wall_ns(end),
        "lport": rows["lport"],
        "rport": rows["rport"],
        "netns": rows["netns"],
        "pid": np.where(pid > 0, pid.astype(np.int64), -1),
        "uid": rows["uid"],
        "end": end,  # not printed
        "families": families,  # nor this
    }
    return result | _since(rows) | address_columns(rows, families) | measures.columns(batch, names)


def _since(rows: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
    """Nanoseconds from the first state known to each place of the path: ``at0`` and so on."""
    at = np.ascontiguousarray(rows["at"].astype(np.int64).T)
    start = at[0]
    for one in at[1:]:
        if (start > 0).all():
            break
        start = np.where(start > 0, start, one)
    return {
        f"at{place}": np.where(one > 0, np.maximum(one - start, 0), -1)
        for place, one in enumerate(at)
    }


def why_column(name: str) -> str:
    """Name here of a column that a sentence needs."""
    return f"why_{name}"


def hint_column(name: str) -> str:
    """Name here of a column that the sentence of a hint needs."""
    return f"hint_{name}"


def shapes(batch: Closes, values: dict[str, Any], why: NDArray[np.uint32]) -> NDArray[np.void]:
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
    shape["family"] = values["families"]
    shape["role"] = fields.role(rows)
    # TCP sends window probes while data waits in its queue, keepalives otherwise.
    waiting = (rows["probing"] > 0) | (rows["write_seq"] != rows["snd_una"])
    shape["probe"] = np.where(rows["probes_out"] > 0, 1 + waiting, 0)
    known, no = np.zeros(len(rows), np.uint8), np.uint32(0)
    for name, mask in (
        ("time", values["end"] > 0),
        ("address", flags & F_ADDR),
        ("mptcp", rows["mptcp_flags"]),
        ("refused", rows["refused"]),
        ("icmp_from", rows["traits"] & T_ICMP),
        # Nulls are in these columns, too: shapes are made for what a whole batch has.
        ("lname", flags & F_ADDR if "lname" in values else no),
        ("rname", flags & F_ADDR if "rname" in values else no),
        ("listener", "listener" in values),
    ):
        known |= np.where(mask, np.uint8(KNOWN[name]), np.uint8(0))
    shape["known"] = known
    keys: NDArray[np.void] = shape.view(f"V{SHAPE.itemsize}")
    return keys
