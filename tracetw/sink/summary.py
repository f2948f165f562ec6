# SPDX-License-Identifier: Apache-2.0
"""The end of a trace as text for stderr, at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from tabulate import tabulate

from tracetw.sink.human import amount, share, span
from tracetw.stream.batch import Summary
from tracetw.stream.loss_places import ADVICE
from tracetw.text import visible
from tracetw.verdict.taxonomy import VERDICT_INDEX, VERDICTS, Verdict

_WIDTH = 80
_MEANING = 40
_REASON = 28
# An abnormal verdict gets its advice printed from this part of all closes.
_DOMINANT = 0.05
_ABSENT = "-"
# Fewer wait whenever many connections end at once.
_MANY_WAITED = 32_768


def summary_text(summary: Summary) -> str:
    """Closes by verdict, advice if an abnormal one is frequent, loss, reconciliation."""
    return "\n".join(
        [
            "",
            *_closes(summary),
            *_lost(summary),
            *_output(summary),
            *_no_room(summary),
            *_reconciled(summary),
            "",
        ]
    )


def _closes(summary: Summary) -> Iterator[str]:
    total = sum(summary.closes.values())
    traced = span(round(summary.duration_s * 1e9))
    of_these = " that the filter lets through" if summary.filtered else ""
    if not total:
        yield f"no connection{of_these} ended in {traced}"
        return
    counts = sorted(_known(summary.closes), key=lambda pair: -pair[1])
    abnormal = sum(count for verdict, count in counts if verdict.abnormal)
    how_many = f"{abnormal:,}" if abnormal else "none"
    yield f"{amount(total, 'connection')}{of_these} ended in {traced}, {how_many} abnormally"
    rows = [
        (verdict.code, f"{count:,}", share(count, total), verdict.meaning)
        for verdict, count in counts
        if count
    ]
    yield ""
    yield _table(
        ("verdict", "closes", "part", "meaning"), rows, "lrrl", (None, None, None, _MEANING)
    )
    frequent = [pair for pair in counts if pair[0].abnormal and pair[1] >= total * _DOMINANT]
    for verdict, _ in frequent[:1]:
        yield ""
        yield from textwrap.wrap(f"{verdict.code}: {verdict.advice}", _WIDTH)


def _known(closes: Mapping[str, int]) -> Iterator[tuple[Verdict, int]]:
    for code, count in closes.items():
        yield VERDICTS[VERDICT_INDEX[code]], count


def _lost(summary: Summary) -> Iterator[str]:
    yield ""
    if summary.unwritten:
        yield from textwrap.wrap(
            f"lost: {amount(summary.unwritten, 'record')} could not be written, and so"
            f" {'is' if summary.unwritten == 1 else 'are'} missing from the output.",
            _WIDTH,
        )
    if not summary.lost:
        if not summary.unwritten:
            yield "lost: nothing"
        return
    several = len(summary.lost_at) > 1
    places = "; ".join(
        f"{visible(where)}: {number:,}" if several else visible(where)
        for where, number in summary.lost_at.items()
    )
    text = (
        f"lost: {amount(summary.lost, 'record')}{f' ({places})' if places else ''}."
        f" What {'it' if summary.lost == 1 else 'they'} told is not above, and verdicts around the loss are"
        " weakened."
    )
    advice = dict.fromkeys(ADVICE[where] for where in summary.lost_at if where in ADVICE)
    yield from textwrap.wrap(" ".join((text, *advice)), _WIDTH)


def _output(summary: Summary) -> Iterator[str]:
    """Whether the output was slow."""
    if summary.waited > _MANY_WAITED:
        yield f"the output was slower: up to {summary.waited:,} records waited for it"


def _no_room(summary: Summary) -> Iterator[str]:
    """What the tables of the kernel side could not hold, and the option that gives more room."""
    missing = summary.no_room
    if missing is None:
        return
    parts = [
        f"{number:,} {text}"
        for number, text in (
            (missing.connections, "connections began that could not be followed from then on"),
            (missing.ends, "facts about the end of such connections were not kept"),
            (missing.records, "ends were reported before all was known about them"),
        )
        if number
    ]
    if not parts:
        return
    yield ""
    yield from textwrap.wrap(
        f"no room: {'; '.join(parts)}. There is room for {missing.max_connections:,} live connections;"
        " --max-connections gives more.",
        _WIDTH,
    )


def _reconciled(summary: Summary) -> Iterator[str]:
    """The counters that moved; the rest in one number."""
    if summary.not_reconciled:
        yield ""
        yield from textwrap.wrap(f"not compared: {summary.not_reconciled}", _WIDTH)
    if not summary.reconciliation:
        return
    moved = [row for row in summary.reconciliation if row["kernel"] or row["explained"]]
    off = [row for row in moved if row["difference"]]
    if moved:
        rows = [
            (
                visible(row["counter"]),
                _number(row["kernel"]),
                _number(row["explained"]),
                _number(row["difference"]),
                visible(row["reason"] or "") or ("" if not row["difference"] else "unexplained"),
            )
            for row in moved
        ]
        heads = ("kernel counter", "kernel", "explained", "difference", "reason")
        yield ""
        yield _table(heads, rows, "lrrrl", (None, None, None, None, _REASON))
    agree = sum(row["difference"] == 0 for row in summary.reconciliation)
    yield ""
    yield agreement(agree, len(off))


def agreement(agree: int, differ: int) -> str:
    """``98 kernel counters agree with what was explained, 1 differs``."""
    counters = "kernel counter agrees" if agree == 1 else "kernel counters agree"
    return (
        f"{agree:,} {counters} with what was explained,"
        f" {differ:,} {'differs' if differ == 1 else 'differ'}"
    )


def _number(value: int | None) -> str:
    return _ABSENT if value is None else f"{value:,}"


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    align: str,
    widths: Sequence[int | None],
) -> str:
    names = {"l": "left", "r": "right"}
    return tabulate(
        rows,
        headers=heads,
        tablefmt="simple",
        disable_numparse=True,
        colalign=[names[letter] for letter in align],
        maxcolwidths=list(widths),
    )
