# SPDX-License-Identifier: Apache-2.0
"""Columns about single packets of a connection: TTL, the RST, who sent an ICMP error, refused segments."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracetw.event import fields
from tracetw.event.fields import Rows
from tracetw.event.names import KernelNames
from tracetw.event.record import F_RST_ACK, F_RST_ACK_KNOWN, F_RST_OUT, F_RST_REASON, T_ICMP
from tracetw.query.arrow import nothing, numbers, texts
from tracetw.sink.close_document import NO_REASON
from tracetw.sink.rare import MOST_REFUSED
from tracetw.verdict.explain import refusal_reasons
from tracetw.verdict.findings import Findings
from tracetw.verdict.taxonomy import RESET_DIRECTIONS

_SENT, _RECEIVED = (RESET_DIRECTIONS.index(way) for way in ("sent", "received"))


def packet_columns(rows: Rows, names: KernelNames) -> dict[str, Any]:
    """``ttl``, ``refused_segments``, ``refused_reason`` and ``icmp_from``: null as the JSON is."""
    refused, told = rows["refused"], (rows["traits"] & T_ICMP) != 0
    reasons = refusal_reasons(names)
    for_reason = np.where(refused > 0, rows["refused_reason"], 0)
    return {
        "ttl": numbers(rows["ttl"], rows["ttl"] != 0),
        "refused_segments": numbers(refused, (refused > 0) & (refused < MOST_REFUSED)),
        "refused_reason": texts(for_reason, lambda reason: reasons[reason] if reason else None),
        "icmp_from": texts(
            np.where(told, rows["icmp_from"], 0),
            lambda address: fields.ipv4_texts(np.array([address], "<u4"))[0] if address else None,
        )
        if told.any()
        else nothing(len(rows), "text"),
    }


def reset_columns(rows: Rows, findings: Findings, names: KernelNames) -> dict[str, Any]:
    """``reset_reason`` that the kernel gave, ``reset_ack_flag`` and ``reset_ttl`` of the RST that ended it."""
    flags = rows["flags"]
    sent = findings.reset_direction == _SENT
    received = findings.reset_direction == _RECEIVED
    known = (sent & ((flags & F_RST_OUT) != 0)) | (received & ((flags & F_RST_ACK_KNOWN) != 0))
    given = (sent | received) & ((flags & F_RST_REASON) != 0)
    reasons = {code: text for code, text in names.reset_reasons.items() if text not in NO_REASON}
    return {
        "reset_reason": texts(np.where(given, rows["reset_reason"].astype("i2"), -1), reasons.get),
        "reset_ack_flag": numbers(sent | ((flags & F_RST_ACK) != 0), known),
        "reset_ttl": numbers(rows["rst_ttl"], received & (rows["rst_ttl"] != 0)),
    }
