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
from tracetw.sink.measures import members
from tracetw.sink.schema import SCHEMA
from tracetw.sink.template import Members, Slot, millis, number, number_or_null, text
from tracetw.verdict.evidence import evidence_names
from tracetw.verdict.findings import TEXTS, UNKNOWN
from tracetw.verdict.hints import hint_names

OWNERS = {owner.value: None if owner is Owner.NONE else owner.name.lower() for owner in Owner}
"""``owner_from`` by number."""

GROUP = {Members(("cgroup", "unit", "container")): text("group")}
"""The members that tell of the owner's control group."""
NO_REASON = frozenset({"NOT_SPECIFIED", "ERROR"})
"""Reset reasons that say no more than "a reset"."""


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

    def text(self, name: str) -> str | None:
        """Of a column of ``TEXTS``."""
        number = self.values[name]
        return None if number == UNKNOWN else TEXTS[name][number]


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
        "first_close": shape.text("first_close"),
        "form": shape.text("form"),
        "verdict": shape.text("verdict"),
        "closed_by": shape.text("closed_by"),
        "exit": _exit(shape),
        "time_wait": shape.text("time_wait"),
        "states": _states(shape, names),
        **members(),
        "ttl": shape.ttl or None,
        "retransmits": members("retransmits"),
        "probes": {**members("probes"), "what": _probe(shape)},
        "refused": shape.known("refused", text("refused")),
        "limit": _limit(shape),
        "reset": _reset(shape, names),
        "error": fields.error_name(shape.error),
        "icmp_from": shape.known("icmp_from", text("icmp_from")),
        "why": why,
        "hints": hint_names(shape.hints),
        "evidence": evidence_names(shape.evidence),
        "confidence": shape.text("confidence"),
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
    return {"name": shape.text("limit"), **members("limit")}


def _reset(shape: _Shape, names: KernelNames) -> dict[str, Any] | None:
    direction = shape.text("reset_direction")
    if direction is None:
        return None
    reason: str | None = None
    if shape.flags & F_RST_REASON:
        reason = names.reset_reasons.get(shape.reset_reason)
    from_kernel = reason is not None and reason not in NO_REASON
    verdict = shape.text("verdict")
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
