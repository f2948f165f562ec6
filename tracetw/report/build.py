# SPDX-License-Identifier: Apache-2.0
"""Recordings in, one report out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tracetw.recording.reader import Recording
from tracetw.replay.window import ALWAYS, Window
from tracetw.report import tables
from tracetw.report.causes.sentences import tell as cause
from tracetw.report.count.scan import Scan, scan
from tracetw.report.ends.join import Joined, join
from tracetw.report.ends.report import both_ends, clock_offsets
from tracetw.report.ends.stories import tell_stories
from tracetw.report.heat import heat
from tracetw.report.incidents.context import scene_of
from tracetw.report.incidents.find import counted, find
from tracetw.report.incidents.tell import reader, tell
from tracetw.report.model import Incident, Report, Story
from tracetw.report.names import address_names
from tracetw.report.pressure import pressures
from tracetw.report.quality import hosts
from tracetw.report.render.phrases import Words
from tracetw.report.settings import settings
from tracetw.report.tables import abnormal
from tracetw.sink.human import amount
from tracetw.stream.filter import Filter
from tracetw.stream.known import Ask

_CAUSES = 40


def build(
    recordings: Sequence[Recording],
    wanted: Filter = Filter(),  # noqa: B008 (frozen)
    window: Window = ALWAYS,
    *,
    utc: bool,
    ask: Ask | None = None,
) -> Report:
    """Read everything and find out what happened.

    Args:
        recordings: one or many, of one or many hosts.
        wanted: which connections count.
        window: the time in which they ended.
        utc: times in sentences in UTC, else in the time zone of this process.
        ask: for names of addresses that no recording has.
    """
    counts = scan(recordings, wanted, window)
    joined = join(counts, wanted, window)
    ahead = (
        joined.ahead_ns(len(counts.sources)) if joined else np.zeros(len(counts.sources), np.int64)
    )
    if ahead.any():
        counts.move(ahead)
    begin, end = _span(counts, window, ahead.tolist())
    words = Words.spanning(begin, end, utc=utc)
    context = scene_of(counts, joined, begin, end)
    drafts, found = find(context)
    told = found[:_CAUSES]
    incidents = [tell(context, draft, number, words) for number, draft in enumerate(drafts, 1)]
    stories = tell_stories(context, drafts, told)
    both, disagreeing = both_ends(counts, joined, stories) if joined else ((), stories)
    report = Report(
        hosts=hosts(counts, words, part=window != ALWAYS),
        begin_ns=begin,
        end_ns=end,
        closes=counts.total,
        abnormal=abnormal(counts),
        filtered=wanted != Filter() or window != ALWAYS,
        affected=context.count(counted(context.cells) | ~context.free),
        in_incidents=context.count(~context.free),
        incidents=tuple(_with_stories(one, disagreeing) for one in incidents),
        causes=tuple(cause(one, number, counts, words) for number, one in enumerate(told, 1)),
        verdicts=tables.verdicts(
            counts, [(one.began_ns, one.ended_ns) for one in incidents], begin
        ),
        timeline=tables.timeline(counts, begin, end),
        heat=heat(counts, begin, end),
        histograms=counts.histograms.tell(),
        peers=tables.ranked(counts, "peers"),
        processes=tables.ranked(counts, "processes"),
        ports=tables.ranked(counts, "ports"),
        containers=tables.ranked(counts, "containers"),
        counts=tables.sizes(counts),
        time_wait=pressures(counts, words),
        settings=settings(counts),
        pairs=joined.pairs if joined else 0,
        clocks=clock_offsets(counts, joined) if joined else (),
        both=both,
        stories=disagreeing,
        notes=tuple(_notes(counts, len(found), joined)),
    )
    return replace(report, names=address_names(report, recordings, ask))


def _with_stories(incident: Incident, stories: Sequence[Story]) -> Incident:
    mine = [one for one in stories if one.incident == incident.number]
    actor = incident.actor or (reader(mine) if incident.kind == "slow-consumer" else None)
    return replace(incident, stories=tuple(one.number for one in mine), actor=actor)


def _span(counts: Scan, window: Window, ahead: Sequence[int]) -> tuple[int, int]:
    """What was looked at: the recordings, as far as the window lets them be seen, by the clock of the first."""
    begins = [source.recording.header.run_started_ns for source in counts.sources]
    ends = [
        max(source.recording.header.ended_ns or 0, source.last_ns, begin)
        for source, begin in zip(counts.sources, begins, strict=True)
    ]
    firsts = [source.first_ns for source in counts.sources]
    begins = [at - by for at, by in zip(begins, ahead, strict=True)]
    begins += [at - by for at, by in zip(firsts, ahead, strict=True) if at]
    ends = [at - by for at, by in zip(ends, ahead, strict=True)]
    begin = max(min(begins, default=0), window.since_ns)
    return begin, max(min(max(ends, default=0), window.until_ns), begin)


def _notes(counts: Scan, found: int, joined: Joined | None) -> list[str]:
    notes = []
    if found > _CAUSES:
        left = found - _CAUSES
        noun = "smaller cause" if left == 1 else "smaller causes"
        notes.append(f"this report omits {left:,} {noun}")
    if counts.cells.folded:
        notes.append("too many processes or peers to tell all apart: the small ones are summed up")
    if counts.pulses.folded:
        seconds = counts.pulse_slots.width_ns // 10**9
        notes.append(f"incidents less than {seconds} s apart cannot be told apart")
    if joined is not None and joined.doubtful:
        pairs = amount(joined.doubtful, "pair")
        notes.append(
            f"{pairs} of ends not joined: several of the recorded hosts have the address of one of the two"
        )
    if joined is not None and not joined.complete:
        notes.append("too many connections between recorded hosts: not all were joined")
    return notes
