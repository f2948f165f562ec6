# SPDX-License-Identifier: Apache-2.0
"""Screen 5: can it be believed? What was lost, and the kernel's counters against what was explained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import NamedTuple

from tracetw.event.record import Stat
from tracetw.reconcile.compare import Reconciled
from tracetw.sink.cells import loss_text
from tracetw.sink.human import amount
from tracetw.sink.summary import agreement
from tracetw.text import visible
from tracetw.top.board import Board
from tracetw.top.lines import Line
from tracetw.top.state import Body

_MOST = 100
_LOSSES = 20
_SO_FAR = (
    "So far: the kernel counts a connection at once, its record follows within a tenth of a second,"
    " or when its process has closed it."
)
_WORDS = {
    Stat.FILTERED: "ends that the filter kept in the kernel",
    Stat.LOST_CLOSES: "ends that had no room in the ring buffer",
    Stat.LOST_EVENTS: "single events that had no room",
    Stat.CONN_FULL: "connections that had no room when they began",
    Stat.CLOSING_FULL: "ends that could not wait for their owner",
    Stat.END_FULL: "facts of ends that had no room",
}


class Compared(NamedTuple):
    """The kernel's counters against what was explained, and why there are not more of them."""

    rows: Sequence[Reconciled]
    why: str | None


def trust_body(board: Board, width: int, so_far: Compared | None = None) -> Body:
    """Losses, the tracer's own counters, the kernel's, and what was said.

    ``so_far`` stands for a stream that is not over.
    """
    lines = [*_lines(board, min(width, _MOST), so_far)]
    return Body((), (), len(lines), lambda at: lines[at])


def _lines(board: Board, width: int, so_far: Compared | None) -> Iterator[Line]:
    total = int(board.counts.sum())
    yield (
        (f"{amount(total, 'connection')} reported", ""),
        (f", {_lost(board)}", _lost_tone(board)),
    )
    for loss in [*board.losses][-_LOSSES:]:
        yield ((loss_text(loss, utc=board.utc), "bad"),)
    yield ()
    for number, context in enumerate(board.contexts):
        yield ((f"host {visible(context.host)}", "head"),)
        stats = context.stats()
        for stat, words in _WORDS.items():
            if stat in stats:
                tone = "" if stat is Stat.FILTERED or not stats[stat] else "bad"
                yield ((f"{stats[stat]:>12,}", tone), (f"  {words}", ""))
        hooks = f"{amount(len(context.hooks), 'hook')} attached"
        absent = f"; this kernel has none for {', '.join(context.absent)}" if context.absent else ""
        yield from _wrapped(visible(hooks + absent), width)
        if number < len(board.summaries):
            summary = board.summaries[number]
            compared = Compared(summary.reconciliation, summary.not_reconciled)
            yield from _counters(compared, width, final=True)
        elif so_far is not None:
            yield from _counters(so_far, width, final=False)
            yield from _wrapped(_SO_FAR, width)
        else:
            yield from _wrapped(
                "The kernel's counters are compared with what was explained at the end of the trace.",
                width,
            )
        yield ()
    if board.messages:
        yield (("messages", "head"),)
        for message in board.messages:
            yield from _wrapped(visible(message), width)


def _lost(board: Board) -> str:
    return f"lost: {amount(board.lost, 'record')}" if board.lost else "lost: nothing"


def _lost_tone(board: Board) -> str:
    return "bad" if board.lost else "good"


def _counters(compared: Compared, width: int, *, final: bool) -> Iterator[Line]:
    if compared.why:
        yield from _wrapped(f"not compared: {visible(compared.why)}", width)
    rows = [row for row in compared.rows if row["kernel"] or row["explained"]]
    if rows:
        yield ((f"{'KERNEL COUNTER':32} {'KERNEL':>10} {'EXPLAINED':>10} {'DIFF':>8}", "head"),)
    wrong = "bad" if final else "odd"
    for row in rows:
        numbers = f" {_number(row['kernel']):>10} {_number(row['explained']):>10}"
        difference = row["difference"]
        tone = "" if not difference else ("odd" if row["reason"] else wrong)
        yield (
            (f"{visible(row['counter']):32}", ""),
            (numbers, ""),
            (f" {_number(difference):>8}", tone),
            (f"  {visible(row['reason'] or '')}", "dim"),
        )
    if compared.rows:
        agree = sum(row["difference"] == 0 for row in compared.rows)
        differ = sum(bool(row["difference"]) for row in compared.rows)
        yield ((agreement(agree, differ), wrong if differ else "good"),)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _wrapped(text: str, width: int) -> Iterator[Line]:
    for line in wrap(text, width):
        yield ((line, ""),)
