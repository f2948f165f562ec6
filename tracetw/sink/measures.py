# SPDX-License-Identifier: Apache-2.0
"""The numbers of a connection: each is a member of its JSON object and a column of SQL, and one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields, measures
from tracetw.event.fields import Rows
from tracetw.event.names import KernelNames
from tracetw.event.record import F_CLOSED, F_MISSED
from tracetw.sink.coded import Coded
from tracetw.sink.template import Slot, millis, number, number_or_null, text
from tracetw.stream.batch import Closes

__all__ = ["NUMBERS", "Number", "Unit", "columns", "members"]

Values: TypeAlias = Callable[[Closes, KernelNames], NDArray[Any]]


class Unit(Enum):
    """How a number is counted; negative is unknown."""

    KNOWN = "never unknown"
    COUNT = "a number"
    TIME = "nanoseconds, shown as milliseconds"
    FLAG = "1 or 0"


@dataclass(frozen=True, slots=True)
class Number:
    """One number.

    Attributes:
        column: its name in SQL and among the columns of a batch.
        unit: what its values are.
        values: of a batch, one for each row.
        within: the object within the connection's JSON object of which it is a member, if there is one.
        name: of the member, if it is not that of the column.
    """

    column: str
    unit: Unit
    values: Values
    within: str = ""
    name: str = ""

    @property
    def member(self) -> str:
        """Its name in the JSON object."""
        return self.name or self.column


def _rows(count: Callable[[Rows], NDArray[Any]]) -> Values:
    return lambda part, _: count(part.rows)


def _named(count: Callable[[Rows, KernelNames], NDArray[np.int64]]) -> Values:
    return lambda part, names: count(part.rows, names)


def _field(name: str) -> Values:
    return lambda part, _: part.rows[name]


def _limit(name: str) -> Values:
    """Of a limit; unknown where no limit has a name: a wait may be known all the same."""
    return lambda part, _: np.where(part.findings.limit > 0, getattr(part.findings, name), -1)


def _payload(count: Callable[[Rows], NDArray[np.int64]]) -> Values:
    """Unknown where data passed TCP by."""
    return lambda part, _: np.where(fields.past_tcp(part.rows), -1, count(part.rows))


def _queue(count: Callable[[Rows], NDArray[np.int64]]) -> Values:
    """Unknown where no program saw the queues when the socket came to CLOSE."""

    def values(part: Closes, _: KernelNames) -> NDArray[np.int64]:
        seen = (part.rows["flags"] & (F_CLOSED | F_MISSED)) != 0
        return np.where(seen, count(part.rows), -1)

    return values


def _rto_ms(part: Closes, names: KernelNames) -> NDArray[np.int64]:
    return np.where(part.rows["rto"] > 0, fields.rto_ms(part.rows, names), -1)


NUMBERS = (
    Number("duration_ms", Unit.TIME, _rows(fields.duration_ns)),
    Number("teardown_ms", Unit.TIME, _rows(fields.teardown_ns)),
    Number("half_closed_ms", Unit.TIME, _rows(measures.half_closed_ns)),
    Number("bytes_sent", Unit.COUNT, _payload(fields.bytes_sent)),
    Number("bytes_received", Unit.COUNT, _payload(fields.bytes_received)),
    Number("bytes_unread", Unit.COUNT, _queue(fields.bytes_unread)),
    Number("bytes_unacked", Unit.COUNT, _queue(fields.bytes_unacked)),
    Number("idle_ms", Unit.COUNT, _named(measures.idle_ms)),
    Number("since_sent_ms", Unit.COUNT, _named(measures.since_sent_ms)),
    Number("since_received_ms", Unit.COUNT, _named(measures.since_received_ms)),
    Number("bytes_acked", Unit.COUNT, _rows(measures.bytes_acked)),
    Number("bytes_unsent", Unit.COUNT, _rows(measures.bytes_unsent)),
    Number("segments_received", Unit.COUNT, _rows(measures.segments_received)),
    Number("mss", Unit.COUNT, _rows(measures.mss)),
    Number("keepalive", Unit.FLAG, _rows(measures.keepalive)),
    Number("rtt_ms", Unit.TIME, lambda part, _: measures.rtt_us(part.rows) * 1000),
    Number("min_rtt_ms", Unit.TIME, lambda part, _: measures.min_rtt_us(part.rows) * 1000),
    Number("retransmits", Unit.KNOWN, _field("total_retrans"), "retransmits", "total"),
    Number("fin_retransmits", Unit.KNOWN, _field("fin_retrans"), "retransmits", "fin"),
    Number("last_rto_ms", Unit.COUNT, _rto_ms, "retransmits"),
    Number("backoff", Unit.KNOWN, _field("backoff"), "retransmits"),
    Number("probes", Unit.KNOWN, _field("probes_out"), "probes", "total"),
    Number("limit_value", Unit.COUNT, _limit("limit_value"), "limit", "value"),
    Number("limit_elapsed_ms", Unit.COUNT, _limit("limit_elapsed_ms"), "limit", "elapsed_ms"),
)
"""In the order of the JSON object and of SQL."""

_SLOTS = {Unit.KNOWN: number, Unit.COUNT: number_or_null, Unit.TIME: millis, Unit.FLAG: text}
_BOOLEANS = np.array([b"false", b"true", b"null"], object)


def members(within: str = "") -> dict[str, Slot]:
    """The members of the object in a connection's object that has this name, or of its own, in order."""
    return {
        each.member: _SLOTS[each.unit](each.column) for each in NUMBERS if each.within == within
    }


def columns(part: Closes, names: KernelNames) -> dict[str, Any]:
    """The columns of all slots."""
    made = {each.column: each.values(part, names) for each in NUMBERS}
    flags = (each.column for each in NUMBERS if each.unit is Unit.FLAG)
    return made | {name: Coded(made[name], _BOOLEANS) for name in flags}
