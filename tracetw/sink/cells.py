# SPDX-License-Identifier: Apache-2.0
"""Records as the cells of a table: what a person reads of a connection or an event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.names import KernelNames
from tracetw.event.record import F_ADDR, EventKind
from tracetw.host.clock import Clock, local_times
from tracetw.sink.close_columns import bytes_received
from tracetw.sink.event_document import event_name
from tracetw.sink.human import clip, printable, size, span
from tracetw.sink.text import Remembered, comm_text
from tracetw.stream.batch import Closes, Context, Events, Loss
from tracetw.verdict.explain import sentences
from tracetw.verdict.findings import UNKNOWN
from tracetw.verdict.taxonomy import CLOSED_BY, FIRST_CLOSE, FORMS, VERDICTS, Verdict

__all__ = ["Cells", "close_cells", "event_cells", "loss_text"]

_MARKS = {"local": ">", "remote": "<", "both": "=", "none": "!"}
_VERDICT_WIDTH = 20
_PROCESS_WIDTH = 12
_MS = 1_000_000
_UNKNOWN = "-"
_NOWHERE = (_UNKNOWN, 0)
_EVENT_MARK = "~"
_ARROW = "→"
# ss(8) writes it so, too; two states and an arrow then fit in the column of the verdict.
_SHORT_STATES = {"ESTABLISHED": "ESTAB"}


@dataclass(frozen=True, slots=True)
class Cells:
    """One line.

    Attributes:
        time: of day.
        netns: inode; empty in the narrow table, as are ``role`` and ``rest``.
        local: address and port.
        mark: who closed first; of an event that it is one.
        remote: address and port.
        role: client or server.
        process: command name and pid of the owner.
        verdict: verdict or event, with what fits of its form, cause and duration.
        rest: the remaining columns of the wide table.
        tone: ``good``, ``bad``, ``worst`` or ``odd``.
    """

    time: str
    netns: tuple[str, ...]
    local: tuple[str, int]
    mark: str
    remote: tuple[str, int]
    role: tuple[str, ...]
    process: str
    verdict: str
    rest: tuple[str, ...]
    tone: str


_comms: Remembered[bytes, str] = Remembered(lambda comm: printable(comm_text(comm)))


def close_cells(batch: Closes, context: Context, *, wide: bool, utc: bool) -> Iterator[Cells]:
    """The lines of finished connections, in order."""
    rows, findings = batch.rows, batch.findings
    frames = _frames(rows, fields.end_ns(rows), batch.clock, wide=wide, utc=utc)
    lived = fields.duration_ns(rows).tolist()
    waited = findings.limit_elapsed_ms.tolist()
    sent = fields.bytes_sent(rows).tolist()
    received = bytes_received(rows).tolist()
    why = sentences(rows, findings, context.names) if wide else [""] * len(rows)
    for at, frame in enumerate(frames):
        verdict = VERDICTS[findings.verdict[at]]
        form = "" if findings.form[at] == UNKNOWN else FORMS[findings.form[at]]
        closed_by = "" if findings.closed_by[at] == UNKNOWN else CLOSED_BY[findings.closed_by[at]]
        if wide:
            text = verdict.code
            rest: tuple[str, ...] = (
                form or _UNKNOWN,
                closed_by or _UNKNOWN,
                span(lived[at]) if lived[at] >= 0 else _UNKNOWN,
                size(sent[at]),
                size(received[at]),
                str(rows["total_retrans"][at]),
                why[at],
            )
        else:
            rest = ()
            ns = waited[at] * _MS if waited[at] >= 0 else lived[at]
            death = _death(closed_by, int(rows["exit_code"][at]))
            how = death or (form if verdict.code == "orderly" else "")
            text = _fitting(verdict.code, how, span(ns) if ns >= 0 else "")
        yield Cells(
            *frame[:3],
            _MARKS[FIRST_CLOSE[findings.first_close[at]]],
            *frame[3:],
            verdict=text,
            rest=rest,
            tone=_tone(verdict, form, closed_by),
        )


def event_cells(batch: Events, context: Context, *, wide: bool, utc: bool) -> Iterator[Cells]:
    """The lines of single events, in order."""
    rows = batch.rows
    frames = _frames(rows, rows["at"].astype(np.int64), batch.clock, wide=wide, utc=utc)
    rto = fields.jiffies_to_ms(rows["rto"], context.names).tolist()
    for at, frame in enumerate(frames):
        row = rows[at]
        kind = int(row["kind"])
        text = _event_text(kind, row, context.names)
        age = int(row["at"]) - int(row["born"]) if row["born"] else -1
        facts = []
        if kind == EventKind.RETRANSMIT:
            facts.append(f"in {_state(context.names, row['from'])}, rto {rto[at]} ms")
            facts.append(f"backoff {row['backoff']}")
        elif age >= 0:
            facts.append(f"after {span(age)}")
        if row["reason"]:
            facts.append(context.names.drop_reasons.get(int(row["reason"]), str(row["reason"])))
        yield Cells(
            *frame[:3],
            _EVENT_MARK,
            *frame[3:],
            verdict=text,
            rest=(*[""] * 6, ", ".join(facts)) if wide else (),
            tone="bad" if kind in (EventKind.DROP, EventKind.RETRANSMIT) else "odd",
        )


def loss_text(loss: Loss, *, utc: bool) -> str:
    """``-- 12 records lost between 10:00:01 and 10:00:02: ring buffer full``."""
    since, until = local_times(np.array([loss.since_ns, loss.until_ns]), utc=utc, digits=0)
    return f"-- {loss.records} records lost between {since} and {until}: {loss.where}"


_Frame: TypeAlias = tuple[
    str, tuple[str, ...], tuple[str, int], tuple[str, int], tuple[str, ...], str
]


def _frames(
    rows: NDArray[Any], at: NDArray[np.int64], clock: Clock, *, wide: bool, utc: bool
) -> Iterator[_Frame]:
    """Of each row: time, netns, local, remote, role, process."""
    times = local_times(clock.to_wall_ns(at), utc=utc, digits=3 if wide else 0)
    for unknown in np.flatnonzero(at <= 0).tolist():
        times[unknown] = _UNKNOWN
    known = ((rows["flags"] & F_ADDR) != 0).tolist()
    local = zip(fields.address_texts(rows, "laddr"), rows["lport"].tolist(), strict=True)
    remote = zip(fields.address_texts(rows, "raddr"), rows["rport"].tolist(), strict=True)
    roles = fields.role(rows).tolist()
    netns = rows["netns"].tolist()
    owners = zip(rows["comm"].tolist(), rows["pid"].tolist(), strict=True)
    for time, ns, here, there, role, owner, good in zip(
        times, netns, local, remote, roles, owners, known, strict=True
    ):
        yield (
            time,
            (str(ns),) if wide else (),
            here if good else _NOWHERE,
            there if good else _NOWHERE,
            (fields.ROLES[role] or _UNKNOWN,) if wide else (),
            _process(owner, None if wide else _PROCESS_WIDTH),
        )


def _process(owner: tuple[bytes, int], width: int | None) -> str:
    """``nginx/1234``: the number is kept whole, it is what one needs next."""
    comm, pid = owner
    name = _comms[comm]
    if not pid:
        return name or _UNKNOWN
    number = f"/{pid}"
    return (name if width is None else clip(name, width - len(number))) + number


def _death(closed_by: str, exit_code: int) -> str:
    """How the process died, if that is what closed the connection."""
    if closed_by == "process-crash":
        return fields.exit_status(exit_code)[1] or "crash"
    return {"oom-kill": "OOM", "process-exit": "exit"}.get(closed_by, "")


def _fitting(first: str, *more: str) -> str:
    """As many of the texts as fit in the column of the verdict."""
    text = first
    for part in filter(None, more):
        if len(text) + 1 + len(part) <= _VERDICT_WIDTH:
            text += f" {part}"
    return text


def _tone(verdict: Verdict, form: str, closed_by: str) -> str:
    if verdict.code == "undetermined":
        return "odd"
    if verdict.abnormal and form == "timeout":
        return "worst"
    return "bad" if verdict.abnormal or closed_by in ("process-crash", "oom-kill") else "good"


def _event_text(kind: int, row: Any, names: KernelNames) -> str:  # noqa: ANN401 (a record)
    if kind == EventKind.TRANSITION:
        return f"{_state(names, row['from'])}{_ARROW}{_state(names, row['to'])}"
    name = event_name(kind, int(row["code"]))
    if kind == EventKind.RETRANSMIT:
        return f"retransmit {name}"
    prefix = "tw" if kind == EventKind.TIMEWAIT else "drop"
    # The names of the contract are kept whole; the longest fill the column on their own.
    return f"{prefix} {name}" if len(prefix) + 1 + len(name) <= _VERDICT_WIDTH else name


def _state(names: KernelNames, number: Any) -> str:  # noqa: ANN401 (a NumPy integer)
    name = names.tcp_states.get(int(number), str(number)) if number else _UNKNOWN
    return _SHORT_STATES.get(name, name)
