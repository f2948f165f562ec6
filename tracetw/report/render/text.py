# SPDX-License-Identifier: Apache-2.0
"""A report for a terminal, at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from tabulate import tabulate

from tracetw.report.model import Ranked, RecordedHost, Report
from tracetw.report.names import known_of_incident, named
from tracetw.report.render.examples import examples
from tracetw.report.render.phrases import Words, joined
from tracetw.report.settings import place
from tracetw.sink.human import amount, share, span
from tracetw.sink.summary import agreement
from tracetw.text import clip, visible

_WIDTH = 80
_CAUSES = 12
_INCIDENTS = 40
_ROWS = 8
_NAME = 40
# The columns of a ranking but its name and its time, with the gaps.
_REST = 46


def report_text(report: Report, *, utc: bool) -> str:
    """All of it."""
    words = Words.spanning(report.begin_ns, report.end_ns, utc=utc)
    parts = (
        _head(report, words),
        _incidents(report, words),
        _causes(report),
        _examples(report, words),
        _both(report),
        _verdicts(report),
        _ranks(report, words),
        _limits(report),
        _quality(report),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def _wrapped(text: str, first: str = "", rest: str | None = None) -> list[str]:
    return textwrap.wrap(
        visible(text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _head(report: Report, words: Words) -> Iterator[str]:
    names = [*dict.fromkeys(host.name for host in report.hosts)]
    begin, end = words.time(report.begin_ns), words.time(report.end_ns)
    yield from _wrapped(
        f"{joined(names)}, {words.day(report.begin_ns)} {begin} to {end} {words.zone(report.begin_ns)}"
        f" ({span(report.end_ns - report.begin_ns)})"
    )
    wrong = f"{report.abnormal:,} abnormally" if report.abnormal else "none abnormally"
    chosen = " that match" if report.filtered else ""
    yield from _wrapped(f"{amount(report.closes, 'connection')}{chosen} ended, {wrong}")
    yield ""
    if not report.incidents:
        yield "no incident: nothing went wrong more often at one time than at others"
        return
    text = (
        f"{amount(len(report.incidents), 'incident')}; {report.in_incidents:,} of"
        f" {amount(report.affected, 'connection')} that went wrong"
        f" {'is' if report.in_incidents == 1 else 'are'} in {'it' if len(report.incidents) == 1 else 'them'}"
    )
    yield from _wrapped(text)


def _incidents(report: Report, words: Words) -> Iterator[str]:
    if report.incidents:
        yield from ("", "Incidents")
    for one in report.incidents[:_INCIDENTS]:
        yield from _wrapped(one.sentence, f"{one.number:3}. ", "     ")
        processes = [f"{name} {count:,}" for name, count in one.processes.items()]
        peers = [f"{name} ({count:,})" for name, count in one.peers.items()]
        yield from _wrapped(f"processes: {joined(processes)}; peers: {joined(peers)}", "     ")
        if one.containers:
            groups = [clip(visible(name), _NAME) for name in one.containers]
            yield from _wrapped(f"containers and groups: {joined(groups)}", "     ")
        if known := [*known_of_incident(one, report.names)]:
            yield from _wrapped(f"known: {'; '.join(known)}", "     ")
        for each in one.missing:
            yield from _wrapped(f"not recorded: {each}", "     ")
        yield from _wrapped(one.advice, "     -> ", "        ")
    left = report.incidents[_INCIDENTS:]
    if left:
        since, until = left[0].began_ns, left[-1].ended_ns
        yield from _wrapped(
            f"{len(left):,} more, {words.between(since, until)}: see --html or --json", "     "
        )


def _causes(report: Report) -> Iterator[str]:
    if not report.causes:
        return
    yield from ("", "In no incident")
    told = set()
    for cause in report.causes[:_CAUSES]:
        yield from _wrapped(cause.sentence, f"{cause.number:3}. ", "     ")
        processes = [f"{name} {count:,}" for name, count in cause.processes.items()]
        ports = [f"{name} ({count:,})" for name, count in cause.ports.items()]
        yield from _wrapped(f"processes: {joined(processes)}; ports: {joined(ports)}", "     ")
        if cause.containers:
            groups = [clip(visible(name), _NAME) for name in cause.containers]
            yield from _wrapped(f"containers and groups: {joined(groups)}", "     ")
        if cause.advice not in told:
            told.add(cause.advice)
            yield from _wrapped(cause.advice, "     -> ", "        ")
    left = len(report.causes) - _CAUSES
    if left > 0:
        yield f"     {left:,} more: see --html or --json"


def _examples(report: Report, words: Words) -> Iterator[str]:
    paragraphs = [*examples(report.stories, words)]
    if paragraphs:
        yield from ("", "One connection of each")
    for text, first, rest in paragraphs:
        yield from _wrapped(text, first, rest)


def _both(report: Report) -> Iterator[str]:
    if not report.pairs and not report.both:
        return
    were = "was" if report.pairs == 1 else "were"
    pairs = amount(report.pairs, "connection")
    yield from ("", f"Both ends: {pairs} {were} recorded on both sides")
    for one in report.both:
        yield from _wrapped(one.sentence, "   - ", "     ")
    if not report.both:
        yield f"   both sides agree on {'it' if report.pairs == 1 else 'all of them'}"


def _verdicts(report: Report) -> Iterator[str]:
    if not report.verdicts:
        return
    rows = []
    for row in report.verdicts:
        times = ""
        if row.before_per_minute is not None and row.during_per_minute:
            times = (
                f"x{row.during_per_minute / row.before_per_minute:,.1f}"
                if row.before_per_minute
                else "new"
            )
        part = share(row.total, report.closes)
        rates = (row.before_per_minute, row.during_per_minute)
        shown = ["-" if rate is None else f"{rate:,.1f}" for rate in rates]
        rows.append((row.verdict, f"{row.total:,}", part, *shown, times))
    yield ""
    yield _table(
        ("verdict", "closes", "part", "before/min", "during/min", "change"), rows, "lrrrrr"
    )


def _ranks(report: Report, words: Words) -> Iterator[str]:
    for title, ranks in (
        ("peer", report.peers),
        ("process", report.processes),
        ("port", report.ports),
        ("container or group", report.containers),
    ):
        bad = [row for row in ranks if row.abnormal][:_ROWS]
        if bad:
            several = len({host.name for host in report.hosts}) > 1
            names = report.names if title == "peer" else {}
            rows = [_rank(row, words, names, several=several) for row in bad]
            yield ""
            yield _table((title, "closes", "abnormal", "first", "mostly"), rows, "lrrll")


def _rank(row: Ranked, words: Words, names: Mapping[str, str], *, several: bool) -> Sequence[str]:
    first = "-" if row.first_abnormal_ns is None else words.time(row.first_abnormal_ns)
    mostly = next((code for code in row.verdicts if code != "orderly"), "orderly")
    name = named(row.name, names)
    name = f"{name} on {row.host}" if row.host and several else name
    total, abnormal = f"{row.total:,}", f"{row.abnormal:,}"
    room = _WIDTH - _REST - len(first)
    return (clip(visible(name), room), total, abnormal, first, mostly)


def _limits(report: Report) -> Iterator[str]:
    if report.time_wait:
        yield from ("", "TIME_WAIT and local ports")
        for one in report.time_wait[:_ROWS]:
            yield from _wrapped(one.sentence, "   ! " if one.serious else "   - ", "     ")
    if report.settings:
        yield from ("", "Settings that look wrong")
        for each in report.settings:
            where = f"{each.host}, {place(each.namespaces)}"
            text = f"{where}: {each.name} = {each.value}: {each.reason}; {each.advice}"
            yield from _wrapped(text, "   - ", "     ")


def _quality(report: Report) -> Iterator[str]:
    yield from ("", "How far this can be believed")
    for host in report.hosts:
        yield from _host(host)
    for clock in report.clocks:
        yield from _wrapped(clock.sentence, "   - ", "     ")
    for note in report.notes:
        yield from _wrapped(note, "   - ", "     ")


def _host(host: RecordedHost) -> Iterator[str]:
    label = f"{host.name} (Linux {host.kernel}, {amount(host.closes, 'close')} recorded)"
    bad = [*host.damage, *host.losses, *host.gaps]
    yield from _wrapped(f"{label}: {'' if bad else 'whole, nothing lost'}".rstrip(" "), "   ")
    for text in bad:
        yield from _wrapped(text, "   - ", "     ")
    if host.reconciliation is None:
        yield from _wrapped(f"not reconciled: {host.not_reconciled}", "   - ", "     ")
        return
    rows = host.reconciliation
    off = [row for row in rows if row["difference"]]
    agree = sum(row["difference"] == 0 for row in rows)
    yield from _wrapped(
        agreement(agree, len(off)),
        "   - ",
        "     ",
    )
    for row in off:
        yield from _wrapped(
            f"{row['counter']}: kernel {row['kernel']:,}, explained {row['explained']:,}:"
            f" {row['reason'] or 'unexplained'}",
            "     - ",
            "       ",
        )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    names = {"l": "left", "r": "right"}
    text: str = tabulate(
        rows,
        headers=heads,
        tablefmt="simple",
        disable_numparse=True,
        colalign=[names[letter] for letter in align],
    )
    return text
