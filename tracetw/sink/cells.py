# SPDX-License-Identifier: Apache-2.0
"""Records as the cells of a table: what a person reads of a connection or an event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import Rows
from tracetw.event.names import KernelNames
from tracetw.event.record import F_ADDR, EventKind
from tracetw.host.clock import local_times
from tracetw.sink.coded import distinct
from tracetw.sink.event_document import event_name
from tracetw.sink.human import amount, endpoints, size, span, spans
from tracetw.sink.known import words
from tracetw.sink.layout import Layout
from tracetw.sink.remembered import Remembered
from tracetw.stream.batch import Closes, Context, Events, Loss
from tracetw.text import ELLIPSIS, clip, columns, decoded, padded, visible
from tracetw.verdict import hint_text
from tracetw.verdict.explain import sentences
from tracetw.verdict.findings import UNKNOWN
from tracetw.verdict.taxonomy import CLOSED_BY, FIRST_CLOSE, FORMS, VERDICTS

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
    """The lines of a batch: columns of one text a line.

    Attributes:
        before: the columns before the verdict, in the order of the layout.
        verdict: verdict or event, with what fits of its form, cause and duration.
        rest: the columns behind it.
        tones: ``good``, ``bad``, ``worst`` or ``odd``.
    """

    before: list[list[str]]
    verdict: list[str]
    rest: list[list[str]]
    tones: list[str]


_comms: Remembered[bytes, str] = Remembered(lambda comm: visible(decoded(comm)))
_clipped: Remembered[tuple[bytes, int], str] = Remembered(lambda key: clip(_comms[key[0]], key[1]))
_HOW = np.dtype(
    [("exit_code", "<u4"), ("verdict", "u1"), ("form", "u1"), ("closed_by", "u1"), ("none", "u1")]
)


def close_cells(batch: Closes, context: Context, layout: Layout, *, utc: bool) -> Cells:
    """The lines of finished connections, in order."""
    rows, findings = batch.rows, batch.findings
    marks = [_MARKS[FIRST_CLOSE[first]] for first in findings.first_close.tolist()]
    before = _frames(batch, fields.end_ns(rows), marks, context, layout, utc=utc)
    how = np.zeros(len(rows), _HOW)
    for name in ("verdict", "form", "closed_by"):
        how[name] = getattr(findings, name)
    how["exit_code"] = rows["exit_code"]
    some, which = distinct(how)
    hows = [_How(one) for one in how[some]]
    index = which.tolist()
    tones = [one.tone() for one in hows]
    each = [tones[at] for at in index]
    known = _known(rows, context, layout)
    lived = fields.duration_ns(rows)
    if not layout.whole:
        waited = findings.limit_elapsed_ms
        times = spans(np.where(waited >= 0, waited * _MS, lived), "")
        room = layout.width("verdict")
        fit: Remembered[tuple[int, str], str] = Remembered(
            lambda key: hows[key[0]].fitting(room, key[1])
        )
        text = list(map(fit.__getitem__, zip(index, times, strict=True)))
        return Cells(before, text, [known] if known else [], each)
    why = sentences(rows, findings, context.names)
    if findings.hints.any():
        more = hint_text.sentences(rows, findings, context.names)
        why = [first + second for first, second in zip(why, more, strict=True)]
    rest = [
        [hows[at].form or _UNKNOWN for at in index],
        [hows[at].closed_by or _UNKNOWN for at in index],
        spans(lived, _UNKNOWN),
        _each(fields.bytes_sent(rows), size),
        _each(fields.bytes_received(rows), size),
        _each(rows["total_retrans"], str),
        known,
        why,
    ]
    return Cells(before, [hows[at].code for at in index], rest, each)


def _each(column: NDArray[Any], text: Callable[[int], str]) -> list[str]:
    """The ``text`` of each number, made once for each different one."""
    some, which = distinct(column)
    texts = [text(one) for one in column[some].tolist()]
    return [texts[at] for at in which.tolist()]


class _How:
    """How connections ended, by their findings: the words of a line that do not differ among them."""

    def __init__(self, how: np.void) -> None:
        self._verdict = VERDICTS[how["verdict"]]
        self._exit_code = int(how["exit_code"])
        self.code = self._verdict.code
        self.form = "" if how["form"] == UNKNOWN else FORMS[how["form"]]
        self.closed_by = "" if how["closed_by"] == UNKNOWN else CLOSED_BY[how["closed_by"]]

    def fitting(self, room: int, time: str) -> str:
        """Verdict, what is special about it, and a time, as far as there is room for them."""
        how = _death(self.closed_by, self._exit_code)
        return _fitting(room, self.code, how or (self.form if self.code == "orderly" else ""), time)

    def tone(self) -> str:
        """Of ``Cells``."""
        if self.code == "undetermined":
            return "odd"
        if self._verdict.abnormal and self.form == "timeout":
            return "worst"
        died = self.closed_by in ("process-crash", "oom-kill")
        return "bad" if self._verdict.abnormal or died else "good"


def event_cells(batch: Events, context: Context, layout: Layout, *, utc: bool) -> Cells:
    """The lines of single events, in order."""
    rows = batch.rows
    wide, room = layout.whole, layout.width("verdict")
    marks = [_EVENT_MARK] * len(rows)
    at_ns = rows["at"].astype(np.int64)
    before = _frames(batch, at_ns, marks, context, layout, utc=utc)
    rto = fields.jiffies_to_ms(rows["rto"], context.names).tolist()
    known = _known(rows, context, layout)
    texts, told, tones = [], [], []
    for at, row in enumerate(rows):
        kind = int(row["kind"])
        text = _event_text(room, kind, row, context.names)
        texts.append(text if wide else clip(text, room))
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
        told.append(", ".join(facts))
        tones.append("bad" if kind in (EventKind.DROP, EventKind.RETRANSMIT) else "odd")
    nothing = [""] * len(rows)
    rest = [*[nothing] * 6, known, told] if wide else [known] if known else []
    return Cells(before, texts, rest, tones)


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
) -> list[list[str]]:
    """The columns before the verdict, in the order of the layout."""
    rows = batch.rows
    cells: dict[str, list[str]] = {
        "mark": marks,
        "time": local_times(batch.clock.to_wall_ns(at), utc=utc, digits=3 if layout.whole else 0),
    }
    for unknown in np.flatnonzero(at <= 0).tolist():
        cells["time"][unknown] = _UNKNOWN
    for name, address, port in (("local", "laddr", "lport"), ("remote", "raddr", "rport")):
        width = None if layout.whole else layout.width(name)
        cells[name] = endpoints(fields.address_texts(rows, address), rows[port].tolist(), width)
        for unknown in np.flatnonzero((rows["flags"] & F_ADDR) == 0).tolist():
            cells[name][unknown] = _UNKNOWN
    if width := layout.width("netns"):
        cells["netns"] = _each(rows["netns"], lambda inode: _netns(inode, context, width, layout))
    if layout.width("role"):
        cells["role"] = [fields.ROLES[role] or _UNKNOWN for role in fields.role(rows).tolist()]
    cells["process"] = _processes(rows, layout.width("process"), cut=not layout.whole)
    return [cells[column.name] for column in layout.columns if column.name in cells]


def _known(rows: Rows, context: Context, layout: Layout) -> list[str]:
    """Of each row what is known of its ends, in a column of it; empty: the layout has none."""
    width = layout.width("known")
    if not width:
        return []
    texts, which = words(rows, context)
    if not layout.whole:
        texts = [clip(text, width) for text in texts]
    texts = [padded(text, width) for text in texts]
    return [texts[at] for at in which.tolist()]


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


_OWNER = np.dtype([("comm", "S16"), ("pid", "<u8")])


def _processes(rows: Rows, width: int, *, cut: bool) -> list[str]:
    owners = np.empty(len(rows), _OWNER)
    for name in ("comm", "pid"):
        owners[name] = rows[name]
    some, which = distinct(owners)
    texts = [padded(_process(comm, pid, width, cut), width) for comm, pid in owners[some].tolist()]
    return [texts[at] for at in which.tolist()]


def _process(comm: bytes, pid: int, width: int, cut: bool) -> str:  # noqa: FBT001 (for each owner)
    """``nginx/1234``; cut the name only, since the number is what one needs next."""
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


def _event_text(room: int, kind: int, row: Any, names: KernelNames) -> str:  # noqa: ANN401 (a record)
    if kind == EventKind.TRANSITION:
        return f"{_state(names, row['from'])}{_ARROW}{_state(names, row['to'])}"
    name = event_name(kind, int(row["code"]))
    if kind == EventKind.RETRANSMIT:
        return f"retransmit {name}"
    prefix = "tw" if kind == EventKind.TIMEWAIT else "drop"
    # Never cut a name of the contract; the longest fill the column on their own.
    return f"{prefix} {name}" if len(prefix) + 1 + len(name) <= room else name


def _state(names: KernelNames, number: Any) -> str:  # noqa: ANN401 (a NumPy integer)
    name = names.tcp_states.get(int(number), str(number)) if number else _UNKNOWN
    return _SHORT_STATES.get(name) or clip(visible(name), _STATE)
