# SPDX-License-Identifier: Apache-2.0
"""The ``mptcp`` object of the JSON contract: what a line is, and the subflows of a connection."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracetw.event import fields
from tracetw.event.names import KernelNames
from tracetw.event.record import (
    F_ADDR,
    F_RST_OUT,
    MP_BACKUP,
    MP_CONNECTION,
    MP_FALLBACK,
    MP_FASTCLOSE_IN,
    MP_FASTCLOSE_OUT,
    MP_JOIN,
    MP_RESET_SEEN,
    MP_SUBFLOW,
    MP_WENT_ON,
)
from tracetw.stream.batch import Closes, Listed
from tracetw.text import json_line
from tracetw.verdict.findings import UNKNOWN, Findings
from tracetw.verdict.taxonomy import FORMS, RESET_DIRECTIONS, TIME_WAIT, VERDICTS

# RFC 8684 3.6, MP_TCPRST.
_REASONS = (
    "unspecified",
    "mptcp-error",
    "lack-of-resources",
    "administratively-prohibited",
    "too-much-outstanding-data",
    "unacceptable-performance",
    "middlebox-interference",
)
_MS = 1_000_000


def mptcp_texts(batch: Closes, names: KernelNames) -> list[bytes]:
    """The objects as JSON text, ``null`` for what MPTCP is not concerned with."""
    objects = mptcp_objects(batch, names)
    return [b"null" if one is None else json_line(one).encode() for one in objects]


def mptcp_objects(batch: Closes, names: KernelNames) -> list[dict[str, Any] | None]:
    """The objects of the rows of a batch. Python for each row of MPTCP, not for others."""
    flags = batch.rows["mptcp_flags"]
    found: list[dict[str, Any] | None] = [None] * len(flags)
    for at in np.flatnonzero(flags & (MP_CONNECTION | MP_SUBFLOW | MP_FALLBACK)).tolist():
        found[at] = _object(batch.rows[at])
    if batch.subflows is not None:
        for at, subflow in zip(
            batch.subflows.of.tolist(), _listed(batch.subflows, names), strict=True
        ):
            one = found[at]
            if one is not None:
                one["subflows"].append(subflow)
    return found


def role(flags: int) -> str | None:
    """What a record with these ``mptcp_flags`` is; None: MPTCP is not concerned with it."""
    if flags & MP_CONNECTION:
        return "connection"
    if flags & MP_FALLBACK:
        return "fallback"
    return "subflow" if flags & MP_SUBFLOW else None


def _object(row: np.void) -> dict[str, Any]:
    flags = int(row["mptcp_flags"])
    token = int(row["mptcp_token"]) or None
    name = role(flags)
    if name == "connection":
        return {
            "role": name,
            "token": token,
            "fastclose": fastclose(flags, reset_sent=False),
            "subflows_total": int(row["mptcp_local_id"]) or None,
            "subflows": [],
        }
    if name == "fallback":
        return {"role": name, "token": token}
    return {
        "role": name,
        "token": token,
        "connection_went_on": bool(flags & MP_WENT_ON),
        **_of_subflow(row),
    }


def fastclose(flags: int, *, reset_sent: bool) -> str | None:
    """MP_FASTCLOSE ``sent`` or ``received``, by ``mptcp_flags``.

    Of a subflow both sides' marks stay, and only what its RST carried counts as sent.
    """
    if not flags & MP_CONNECTION and flags & MP_FASTCLOSE_OUT:
        if reset_sent:
            return "sent"
        flags &= ~MP_FASTCLOSE_OUT
    if flags & MP_FASTCLOSE_IN:
        return "received"
    return "sent" if flags & MP_FASTCLOSE_OUT else None


def reset_reason(flags: int, reason: int) -> str | None:
    """The reason of MP_TCPRST, where an option with one was seen."""
    return _REASONS[reason] if flags & MP_RESET_SEEN and reason < len(_REASONS) else None


def _of_subflow(row: np.void) -> dict[str, Any]:
    flags = int(row["mptcp_flags"])
    reset_sent = bool(row["flags"] & F_RST_OUT)
    return {
        "join": bool(flags & MP_JOIN),
        "backup": bool(flags & MP_BACKUP),
        "local_id": int(row["mptcp_local_id"]),
        "remote_id": int(row["mptcp_remote_id"]),
        "fastclose": fastclose(flags, reset_sent=reset_sent),
        "reset_reason": reset_reason(flags, int(row["mptcp_reset"])),
    }


def _listed(listed: Listed, names: KernelNames) -> list[dict[str, Any]]:
    rows, findings = listed.rows, listed.findings
    local, remote = (fields.address_texts(rows, name) for name in ("laddr", "raddr"))
    lived = fields.duration_ns(rows).tolist()
    sent, received = fields.bytes_sent(rows).tolist(), fields.bytes_received(rows).tolist()
    return [
        {
            "local": _endpoint(row, local[at], "lport"),
            "remote": _endpoint(row, remote[at], "rport"),
            **_how(findings, at),
            "time_wait": TIME_WAIT[int(findings.time_wait[at])],
            "states": _states(row, names),
            "error": fields.error_name(int(row["err"])),
            "connection_went_on": bool(row["mptcp_flags"] & MP_WENT_ON),
            **_of_subflow(row),
            "duration_ms": lived[at] / _MS if lived[at] >= 0 else None,
            "bytes_sent": sent[at],
            "bytes_received": received[at],
        }
        for at, row in enumerate(rows)
    ]


def _states(row: np.void, names: KernelNames) -> list[dict[str, str]]:
    return [{"state": state} for state in fields.state_names(int(row["path"]), names)]


def _endpoint(row: np.void, address: str, port: str) -> dict[str, Any]:
    known = bool(row["flags"] & F_ADDR)
    return {"addr": address if known else None, "port": int(row[port]) if known else None}


def _how(findings: Findings, at: int) -> dict[str, Any]:
    form = int(findings.form[at])
    return {
        "verdict": VERDICTS[int(findings.verdict[at])].code,
        "form": None if form == UNKNOWN else FORMS[form],
        "reset": RESET_DIRECTIONS[int(findings.reset_direction[at])],
    }
