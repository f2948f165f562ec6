# SPDX-License-Identifier: Apache-2.0
"""Records as the cells of a table: what a person reads of a connection or an event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import Rows
from tracetw.event.names import KernelNames
from tracetw.event.record import F_ADDR, EventKind
from tracetw.host.clock import local_times
from tracetw.sink.close_columns import bytes_received
from tracetw.sink.event_document import event_name
from tracetw.sink.human import amount, endpoint, size, span
from tracetw.sink.known import words
from tracetw.sink.layout import Layout
from tracetw.sink.remembered import Remembered
from tracetw.stream.batch import Closes, Context, Events, Loss
from tracetw.text import ELLIPSIS, clip, columns, decoded, padded, visible
from tracetw.verdict import hint_text
from tracetw.verdict.explain import sentences
from tracetw.verdict.findings import UNKNOWN
from tracetw.verdict.taxonomy import CLOSED_BY, FIRST_CLOSE, FORMS, VERDICTS, Verdict

__all__ = ["Cells", "close_cells", "event_cells", "loss_text"]

_MARKS = {"local": ">", "remote": "<", "both": "=", "none": "!"}
_MS = 1_000_000
_UNKNOWN = "-"
_EVENT_MARK = "~"
_ARROW = "→"
# ss(8) writes it so, too; two states and an arrow then fit in the column of the verdict.
_SHORT_STATES = {"ESTABLISHED": "ESTAB"}
# The longest name that a kernel has: NEW_SYN_RECV, BOUND_INACTIVE.
_STATE = 14


@dataclass(frozen=True, slots=True)
class Cells:
    """One line.

    Attributes:
        before: the columns before the verdict, in the order of the layout.
        verdict: verdict or event, with what fits of its form, cause and duration.
        rest: the columns behind it.
        tone: ``good``, ``bad``, ``worst`` or ``odd``.
    """

    before: tuple[str, ...]
    verdict: str
    rest: tuple[str, ...]
    tone: str


_comms: Remembered[bytes, str] = Remembered(lambda comm: visible(decoded(comm)))
_clipped: Remembered[tuple[bytes, int], str] = Remembered(lambda key: clip(_comms[key[0]], key[1]))


def close_cells(batch: Closes, context: Context, layout: Layout, *, utc: bool) -> Iterator[Cells]:
    """The lines of finished connections, in order."""
    rows, findings = batch.rows, batch.findings
    wide, room = layout.whole, layout.width("verdict")
    marks = [_MARKS[FIRST_CLOSE[first]] for first in findings.first_close.tolist()]
    frames = _frames(batch, fields.end_ns(rows), marks, context, layout, utc=utc)
    lived = fields.duration_ns(rows).tolist()
    waited = findings.limit_elapsed_ms.tolist()
    sent = fields.bytes_sent(rows).tolist()
    received = bytes_received(rows).tolist()
    why = sentences(rows, findings, context.names) if wide else [""] * len(rows)
    more = hint_text.sentences(rows, findings, context.names) if wide else why
    known = _known(rows, context, layout)
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
                known[at],
                why[at] + more[at],
            )
        else:
            rest = (known[at],) if known else ()
            ns = waited[at] * _MS if waited[at] >= 0 else lived[at]
            death = _death(closed_by, int(rows["exit_code"][at]))
            how = death or (form if verdict.code == "orderly" else "")
            text = _fitting(room, verdict.code, how, span(ns) if ns >= 0 else "")
        yield Cells(frame, text, rest, _tone(verdict, form, closed_by))


def event_cells(batch: Events, context: Context, layout: Layout, *, utc: bool) -> Iterator[Cells]:
    """The lines of single events, in order."""
    rows = batch.rows
    wide, room = layout.whole, layout.width("verdict")
    marks = [_EVENT_MARK] * len(rows)
    at_ns = rows["at"].astype(np.int64)
    frames = _frames(batch, at_ns, marks, context, layout, utc=utc)
    rto = fields.jiffies_to_ms(rows["rto"], context.names).tolist()
    known = _known(rows, context, layout)
    for at, frame in enumerate(frames):
        row = rows[at]
        kind = int(row["kind"])
        text = _event_text(room, kind, row, context.names)
        text = text if wide else clip(text, room)
        age = int(row["at"]) - int(row["born"]) if row["born"] else -1
        facts = []
        if kind == EventKind.RETRANSMIT:
            facts.append(f"in {_state(context.names, row['from'])}, rto {rto[at]} ms")
            facts.append(f"backoff {row['backoff']}")
        elif age >= 0:
            facts.append(f"after {span(age)}")
        if row["reason"]:
            reason = context.names.drop_reasons.get(int(row["reason"]), str(row["reason"]))
            facts.append(visible(reason))
        rest = (*[""] * 6, known[at], ", ".join(facts)) if wide else (*known[at : at + 1],)
        tone = "bad" if kind in (EventKind.DROP, EventKind.RETRANSMIT) else "odd"
        yield Cells(frame, text, rest, tone)


def loss_text(loss: Loss, *, utc: bool) -> str:
    """``-- 12 records lost between 10:00:01 and 10:00:02: ring buffer full``."""
    since, until = local_times(np.array([loss.since_ns, loss.until_ns]), utc=utc, digits=0)
    lost = amount(loss.records, "record")
    return f"-- {lost} lost between {since} and {until}: {visible(loss.where)}"


def _frames(
    batch: Closes | Events,
    at: NDArray[np.int64],
    marks: list[str],
    context: Context,
    layout: Layout,
    *,
    utc: bool,
) -> Iterator[tuple[str, ...]]:
    """Of each row the columns before the verdict, in the order of the layout."""
    rows = batch.rows
    cells: dict[str, list[str]] = {
        "mark": marks,
        "time": local_times(batch.clock.to_wall_ns(at), utc=utc, digits=3 if layout.whole else 0),
    }
    for unknown in np.flatnonzero(at <= 0).tolist():
        cells["time"][unknown] = _UNKNOWN
    known = (rows["flags"] & F_ADDR) != 0
    for name, address, port in (("local", "laddr", "lport"), ("remote", "raddr", "rport")):
        width = None if layout.whole else layout.width(name)
        ends = zip(fields.address_texts(rows, address), rows[port].tolist(), strict=True)
        cells[name] = [endpoint(*end, width) for end in ends]
        for unknown in np.flatnonzero(~known).tolist():
            cells[name][unknown] = _UNKNOWN
    if width := layout.width("netns"):
        inodes = rows["netns"].tolist()
        names = {inode: _netns(inode, context, width, layout) for inode in set(inodes)}
        cells["netns"] = [names[inode] for inode in inodes]
    if layout.width("role"):
        cells["role"] = [fields.ROLES[role] or _UNKNOWN for role in fields.role(rows).tolist()]
    width = layout.width("process")
    owners = zip(rows["comm"].tolist(), rows["pid"].tolist(), strict=True)
    cut = not layout.whole
    cells["process"] = [padded(_process(comm, pid, width, cut), width) for comm, pid in owners]
    shown = (column.name for column in layout.columns if column.name in cells)
    return zip(*map(cells.__getitem__, shown), strict=True)


def _known(rows: Rows, context: Context, layout: Layout) -> list[str]:
    """Of each row what is known of its ends, in a column of it; empty: the layout has none."""
    width = layout.width("known")
    if not width:
        return []
    addressed = ((rows["flags"] & F_ADDR) != 0).tolist()
    local, remote = (
        [text if known else "" for text, known in zip(texts, addressed, strict=True)]
        for texts in (fields.address_texts(rows, "laddr"), fields.address_texts(rows, "raddr"))
    )
    groups = rows["cgroup"].tolist()
    paths = {group: context.cgroup_path(group) if group else None for group in {*groups}}
    texts = words(rows, local, remote, [paths[group] for group in groups], context.known)
    if not layout.whole:
        texts = [clip(text, width) for text in texts]
    return [padded(text, width) for text in texts]


def _netns(inode: int, context: Context, width: int, layout: Layout) -> str:
    """The name of a namespace, else its number. Both ends of a name may differ, of numbers the last."""
    name = context.netns_name(inode) if inode else None
    text = visible(name) if name is not None else str(inode) if inode else _UNKNOWN
    if layout.whole or columns(text) <= width:
        return padded(text, width)
    end = width - 1 if name is None else width // 2 - 1
    if not text.isascii():
        return padded(clip(text, width), width)
    return f"{text[: width - 1 - end]}{ELLIPSIS}{text[len(text) - end :]}"


def _process(comm: bytes, pid: int, width: int, cut: bool) -> str:  # noqa: FBT001 (for each line)
    """``nginx/1234``: the number is kept whole, it is what one needs next."""
    number = f"/{pid}" if pid else ""
    name = _clipped[comm, width - len(number)] if cut else _comms[comm]
    return name + number if name or pid else _UNKNOWN


def _death(closed_by: str, exit_code: int) -> str:
    """How the process died, if that is what closed the connection."""
    if closed_by == "process-crash":
        return fields.exit_status(exit_code)[1] or "crash"
    return {"oom-kill": "OOM", "process-exit": "exit"}.get(closed_by, "")


def _fitting(room: int, first: str, *more: str) -> str:
    """As many of the texts as fit in the column of the verdict."""
    text = first
    for part in filter(None, more):
        if len(text) + 1 + len(part) <= room:
            text += f" {part}"
    return text


def _tone(verdict: Verdict, form: str, closed_by: str) -> str:
    if verdict.code == "undetermined":
        return "odd"
    if verdict.abnormal and form == "timeout":
        return "worst"
    return "bad" if verdict.abnormal or closed_by in ("process-crash", "oom-kill") else "good"


def _event_text(room: int, kind: int, row: Any, names: KernelNames) -> str:  # noqa: ANN401 (a record)
    if kind == EventKind.TRANSITION:
        return f"{_state(names, row['from'])}{_ARROW}{_state(names, row['to'])}"
    name = event_name(kind, int(row["code"]))
    if kind == EventKind.RETRANSMIT:
        return f"retransmit {name}"
    prefix = "tw" if kind == EventKind.TIMEWAIT else "drop"
    # The names of the contract are kept whole; the longest fill the column on their own.
    return f"{prefix} {name}" if len(prefix) + 1 + len(name) <= room else name


def _state(names: KernelNames, number: Any) -> str:  # noqa: ANN401 (a NumPy integer)
    name = names.tcp_states.get(int(number), str(number)) if number else _UNKNOWN
    return _SHORT_STATES.get(name) or clip(visible(name), _STATE)
