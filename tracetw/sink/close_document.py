# SPDX-License-Identifier: Apache-2.0
"""The ``close`` object of the JSON contract for one shape of row."""

from __future__ import annotations

from typing import Any

from tracetw.event import fields
from tracetw.event.layer import LAYERS
from tracetw.event.names import KernelNames
from tracetw.event.record import (
    F_EXITING,
    F_RST_ACK,
    F_RST_ACK_KNOWN,
    F_RST_OUT,
    F_RST_REASON,
    Owner,
)
from tracetw.sink.addresses import address_slot
from tracetw.sink.close_columns import KNOWN, WINDOW
from tracetw.sink.measures import MEMBERS
from tracetw.sink.schema import SCHEMA
from tracetw.sink.template import Members, Slot, millis, number, number_or_null, text
from tracetw.verdict.evidence import evidence_names
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

__all__ = ["GROUP", "OWNERS", "close_document"]

OWNERS = {owner.value: None if owner is Owner.NONE else owner.name.lower() for owner in Owner}
"""``owner_from`` by number."""

GROUP = {Members(("cgroup", "unit", "container")): text("group")}
"""The members that tell of the owner's control group."""
# A reset reason that says no more than "a reset".
_NO_REASON = frozenset({"NOT_SPECIFIED", "ERROR"})


class _Shape:
    """A shape whose fields are plain Python values, with its bit sets opened."""

    def __init__(self, shape: Any) -> None:  # noqa: ANN401 (a scalar of SHAPE)
        names = shape.dtype.names
        self.values: dict[str, int] = dict(zip(names, shape.item(), strict=True))

    def __getattr__(self, name: str) -> int:
        return self.values[name]

    def has(self, name: str) -> bool:
        """The value is known."""
        return bool(self.values["known"] & KNOWN[name])

    def known(self, name: str, slot: Slot) -> Slot | None:
        """The slot, or null."""
        return slot if self.has(name) else None


def close_document(
    raw: Any,  # noqa: ANN401 (a scalar of SHAPE)
    host: str,
    names: KernelNames,
    why: Slot,
) -> dict[Any, Any]:
    """Document for a ``Template``.

    Args:
        raw: scalar of dtype ``SHAPE``.
        host: name of this host.
        names: names of the traced kernel.
        why: the sentence, as JSON text with its quotes.
    """
    shape = _Shape(raw)
    return {
        "v": SCHEMA,
        "kind": "close",
        "time": shape.known("time", Slot('"%t"', ("time",))),
        "host": host,
        "netns": number("netns"),
        "family": shape.known("address", Slot(str(shape.family), ())),
        "local": _endpoint(shape, "l"),
        "remote": _endpoint(shape, "r"),
        "role": fields.ROLES[shape.role],
        "pid": number_or_null("pid"),
        "comm": text("comm"),
        "uid": number("uid"),
        **GROUP,
        "listener": shape.known("listener", text("listener")),
        "owner_from": OWNERS.get(shape.owner_from),
        "layer": LAYERS.get(shape.layer),
        "mptcp": shape.known("mptcp", text("mptcp")),
        "first_close": FIRST_CLOSE[shape.first_close],
        "form": None if shape.form == UNKNOWN else FORMS[shape.form],
        "verdict": VERDICTS[shape.verdict].code,
        "closed_by": None if shape.closed_by == UNKNOWN else CLOSED_BY[shape.closed_by],
        "exit": _exit(shape),
        "time_wait": TIME_WAIT[shape.time_wait],
        "states": _states(shape, names),
        "duration_ms": millis("duration"),
        "teardown_ms": millis("teardown"),
        "half_closed_ms": millis("half_closed"),
        "bytes_sent": number_or_null("bytes_sent"),
        "bytes_received": number_or_null("bytes_received"),
        "bytes_unread": number_or_null("bytes_unread"),
        "bytes_unacked": number_or_null("bytes_unacked"),
        **MEMBERS,
        "ttl": shape.ttl or None,
        "retransmits": {
            "total": number("total_retrans"),
            "fin": number("fin_retrans"),
            "last_rto_ms": number_or_null("rto"),
            "backoff": number("backoff"),
        },
        "probes": {"total": number("probes_out"), "what": _probe(shape)},
        "refused": shape.known("refused", text("refused")),
        "limit": _limit(shape),
        "reset": _reset(shape, names),
        "error": fields.error_name(shape.error),
        "icmp_from": shape.known("icmp_from", text("icmp_from")),
        "why": why,
        "hints": hint_names(shape.hints),
        "evidence": evidence_names(shape.evidence),
        "confidence": CONFIDENCE[shape.confidence],
    }


def _endpoint(shape: _Shape, end: str) -> dict[str, Slot | None]:
    return {
        "addr": shape.known("address", address_slot(f"{end}addr", shape.family)),
        "port": shape.known("address", number(f"{end}port")),
        "name": shape.known(f"{end}name", text(f"{end}name")),
    }


def _exit(shape: _Shape) -> dict[str, Any] | None:
    if not shape.flags & F_EXITING:
        return None
    code, name, core = fields.exit_status(shape.exit_code)
    return {"signal": name, "core": core} if name else {"code": code}


def _states(shape: _Shape, names: KernelNames) -> list[dict[str, Any]]:
    """Times count from the first one known."""
    path = fields.state_names(shape.path, names)
    return [{"state": state, "at_ms": millis(f"at{place}")} for place, state in enumerate(path)]


def _probe(shape: _Shape) -> str | None:
    if not shape.probe:
        return None
    return "window" if shape.probe == WINDOW else "keepalive"


def _limit(shape: _Shape) -> dict[str, Any] | None:
    if not shape.limit:
        return None
    return {
        "name": LIMITS[shape.limit],
        "value": number_or_null("limit_value"),
        "elapsed_ms": number_or_null("limit_elapsed"),
    }


def _reset(shape: _Shape, names: KernelNames) -> dict[str, Any] | None:
    direction = RESET_DIRECTIONS[shape.reset_direction]
    if direction is None:
        return None
    reason: str | None = None
    if shape.flags & F_RST_REASON:
        reason = names.reset_reasons.get(shape.reset_reason)
    from_kernel = reason is not None and reason not in _NO_REASON
    verdict = VERDICTS[shape.verdict].code
    inferred = verdict if verdict != "undetermined" else None
    origin = "inferred" if inferred else None
    return {
        "direction": direction,
        "reason": reason if from_kernel else inferred,
        "reason_from": "kernel" if from_kernel else origin,
        "ack_flag": _ack_flag(shape, sent=direction == "sent"),
        "ttl": (shape.rst_ttl or None) if direction == "received" else None,
    }


def _ack_flag(shape: _Shape, *, sent: bool) -> bool | None:
    """An active reset has ACK (tcp_send_active_reset); of a reply the segment answered decides."""
    if sent:
        return True if shape.flags & F_RST_OUT else None
    return bool(shape.flags & F_RST_ACK) if shape.flags & F_RST_ACK_KNOWN else None
