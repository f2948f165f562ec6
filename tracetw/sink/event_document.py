# SPDX-License-Identifier: Apache-2.0
"""The objects of single events in the JSON contract: columns, shapes and documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.drop_cause import CAUSES, drop_causes
from tracetw.event.fields import State
from tracetw.event.names import KernelNames
from tracetw.event.record import F_ADDR, Drop, EventKind, Timewait, What
from tracetw.sink.addresses import address_columns, address_slot
from tracetw.sink.close_document import GROUP, OWNERS
from tracetw.sink.schema import SCHEMA
from tracetw.sink.template import Slot, millis, number, text
from tracetw.stream.batch import Events

_ADDRESS, _PID, _AGE, _RTO, _LNAME, _RNAME = (1 << bit for bit in range(6))

EVENT_SHAPE = np.dtype(
    [
        ("reason", "<u8"),
        ("kind", "u1"),
        ("known", "u1"),
        ("family", "u1"),
        ("role", "u1"),
        ("from", "u1"),
        ("to", "u1"),
        ("code", "u1"),
        ("owner_from", "u1"),
        ("cause", "u1"),
    ],
    align=True,
)


def event_columns(batch: Events, names: KernelNames) -> dict[str, Any]:
    """Arrays or lists of the batch's length, as ``close_columns.columns``."""
    rows = batch.rows
    at = rows["at"].astype(np.int64)
    age = at - rows["born"].astype(np.int64)
    families = fields.families(rows)
    return {
        "time": batch.clock.to_wall_ns(at),
        "families": families,  # not printed
        **address_columns(rows, families),
        "lport": rows["lport"],
        "rport": rows["rport"],
        "netns": rows["netns"],
        "pid": rows["pid"],
        "backoff": rows["backoff"],
        "queued": rows["queued"],
        "backlog": rows["backlog"],
        "rto": fields.jiffies_to_ms(rows["rto"], names),
        "age": age,
    }


def event_shapes(batch: Events, values: Mapping[str, Any]) -> NDArray[np.void]:
    """The shape of every row, whose columns are ``values``: the bytes of one ``EVENT_SHAPE`` each."""
    rows = batch.rows
    shape = np.zeros(len(rows), dtype=EVENT_SHAPE)
    for name in ("kind", "reason", "from", "to", "code", "owner_from"):
        shape[name] = rows[name]
    shape["family"] = values["families"]
    shape["role"] = fields.role(rows)
    shape["cause"] = drop_causes(rows)
    known: NDArray[np.uint8] = np.zeros(len(rows), dtype=np.uint8)
    for bit, mask in (
        (_ADDRESS, rows["flags"] & F_ADDR),
        (_PID, rows["pid"]),
        (_AGE, (rows["born"] > 0) & (rows["born"] <= rows["at"])),
        (_RTO, rows["rto"]),
        (_LNAME, (rows["flags"] & F_ADDR) if "lname" in values else False),
        (_RNAME, (rows["flags"] & F_ADDR) if "rname" in values else False),
    ):
        known |= np.where(mask, np.uint8(bit), np.uint8(0))
    shape["known"] = known
    keys: NDArray[np.void] = shape.view(f"V{EVENT_SHAPE.itemsize}")
    return keys


def event_document(
    raw: Any,  # noqa: ANN401 (a scalar of EVENT_SHAPE)
    host: str,
    names: KernelNames,
) -> dict[Any, Any]:
    """Document for a ``Template``: what every event has, then what its kind has."""
    known = int(raw["known"])

    def if_known(bit: int, slot: Slot) -> Slot | None:
        return slot if known & bit else None

    def endpoint(end: str, name: int) -> dict[str, Slot | None]:
        return {
            "addr": if_known(_ADDRESS, address_slot(f"{end}addr", int(raw["family"]))),
            "port": if_known(_ADDRESS, number(f"{end}port")),
            "name": if_known(name, text(f"{end}name")),
        }

    document: dict[Any, Any] = {
        "v": SCHEMA,
        "kind": EventKind(raw["kind"]).name.lower(),
        "time": Slot('"%t"', ("time",)),
        "host": host,
        "netns": number("netns"),
        "family": if_known(_ADDRESS, Slot(str(raw["family"]), ())),
        "local": endpoint("l", _LNAME),
        "remote": endpoint("r", _RNAME),
        "role": fields.ROLES[raw["role"]],
        "pid": if_known(_PID, number("pid")),
        "comm": text("comm"),
        **GROUP,
        "owner_from": OWNERS.get(int(raw["owner_from"])),
    }
    age = if_known(_AGE, millis("age"))
    return document | _own_fields(raw, names, age, if_known(_RTO, number("rto")))


def _own_fields(
    raw: Any,  # noqa: ANN401 (a scalar of EVENT_SHAPE)
    names: KernelNames,
    age: Slot | None,
    rto: Slot | None,
) -> dict[str, Any]:
    kind = int(raw["kind"])
    if kind == EventKind.TRANSITION:
        return {"from": _state(names, raw["from"]), "to": _state(names, raw["to"])}
    if kind == EventKind.RETRANSMIT:
        return {
            "state": _state(names, raw["from"]),
            "what": event_name(kind, int(raw["code"])),
            "backoff": number("backoff"),
            "rto_ms": rto,
        }
    own = {"event": event_name(kind, int(raw["code"])), "age_ms": age}
    if kind == EventKind.DROP:
        own["reason"] = names.drop_reasons.get(int(raw["reason"])) if raw["reason"] else None
        at_listener = int(raw["from"]) == State.LISTEN
        own["queued"] = number("queued") if at_listener else None
        own["backlog"] = number("backlog") if at_listener else None
        own["cause"] = CAUSES[int(raw["cause"])]
    return own


def event_name(kind: int, code: int) -> str:
    """Name in the contract of the ``code`` of an event: ``reused-by-syn``; a number if new."""
    codes = {
        EventKind.RETRANSMIT: What,
        EventKind.TIMEWAIT: Timewait,
        EventKind.DROP: Drop,
    }
    try:
        return str(codes[EventKind(kind)](code).name).lower().replace("_", "-")
    except (KeyError, ValueError):
        return str(code)


def _state(names: KernelNames, number_: int) -> str | None:
    """Name of a TCP state; null for the 0 of a socket that had none yet."""
    number_ = int(number_)
    return names.tcp_states.get(number_, str(number_)) if number_ else None
