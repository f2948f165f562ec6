# SPDX-License-Identifier: Apache-2.0
"""Recordings in, one report out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracetw.recording.reader import Recording
from tracetw.replay.window import ALWAYS, Window
from tracetw.report import tables
from tracetw.report.causes.sentences import tell
from tracetw.report.causes.suspects import suspects
from tracetw.report.count.scan import Scan, scan
from tracetw.report.ends.join import join
from tracetw.report.ends.report import both_ends
from tracetw.report.ends.stories import choose, stories
from tracetw.report.heat import heat
from tracetw.report.model import Report, Story
from tracetw.report.pressure import pressures
from tracetw.report.quality import hosts
from tracetw.report.render.phrases import Words
from tracetw.report.settings import settings
from tracetw.stream.filter import Filter

__all__ = ["build"]

_CAUSES = 40


def build(
    recordings: Sequence[Recording],
    wanted: Filter = Filter(),  # noqa: B008 (frozen)
    window: Window = ALWAYS,
    *,
    utc: bool,
) -> Report:
    """Read everything and find out what happened.

    Args:
        recordings: one or many, of one or many hosts.
        wanted: which connections count.
        window: the time in which they ended.
        utc: times in sentences in UTC, else in the time zone of this process.
    """
    counts = scan(recordings, wanted, window)
    begin, end = _span(counts, window)
    words = Words.spanning(begin, end, utc=utc)
    found = suspects(counts, begin, end)
    told = found[:_CAUSES]
    kept = counts.kept.all()
    alone = stories(counts.sources, kept, choose(kept, told))
    joined = join(counts, window)
    both, paired = both_ends(counts, joined, len(alone) + 1) if joined else ((), ())
    happened = tables.incident(counts, found, begin)
    rows = tables.verdicts(counts, happened)
    return Report(
        hosts=hosts(counts, words, part=window != ALWAYS),
        begin_ns=begin,
        end_ns=end,
        closes=counts.total,
        abnormal=sum(row.total for row in rows if row.abnormal),
        filtered=wanted != Filter() or window != ALWAYS,
        incident=happened,
        causes=tuple(tell(one, number, counts, words) for number, one in enumerate(told, 1)),
        verdicts=rows,
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
        both=both,
        stories=_with_other_ends(alone, paired),
        notes=tuple(_notes(counts, len(found), complete=joined is None or joined.complete)),
    )


def _span(counts: Scan, window: Window) -> tuple[int, int]:
    """What was looked at: the recordings, as far as the window lets them be seen."""
    begins = [source.recording.header.run_started_ns for source in counts.sources]
    ends = [
        max(source.recording.header.ended_ns or 0, source.last_ns, begin)
        for source, begin in zip(counts.sources, begins, strict=True)
    ]
    begins += [source.first_ns for source in counts.sources if source.first_ns]
    begin = max(min(begins, default=0), window.since_ns)
    return begin, max(min(max(ends, default=0), window.until_ns), begin)


def _with_other_ends(alone: tuple[Story, ...], paired: tuple[Story, ...]) -> tuple[Story, ...]:
    """Both lists; a connection that is in both is told once, with its other end."""

    def identity(story: Story) -> tuple[object, ...]:
        close = story.close
        return close["host"], close["time"], str(close["local"]), str(close["remote"])

    causes = {identity(story): story.cause for story in alone}
    better = [replace(story, cause=causes.get(identity(story))) for story in paired]
    known = {identity(story) for story in better}
    return (*(story for story in alone if identity(story) not in known), *better)


def _notes(counts: Scan, found: int, *, complete: bool) -> list[str]:
    notes = []
    if found > _CAUSES:
        left = found - _CAUSES
        noun = "smaller cause is" if left == 1 else "smaller causes are"
        notes.append(f"{left:,} {noun} left out")
    if counts.cells.folded:
        notes.append("too many processes or peers to tell all apart: the small ones are summed up")
    if counts.pulses.folded:
        seconds = counts.pulse_slots.width_ns // 10**9
        notes.append(f"the beginnings of causes are exact to {seconds} s")
    if not complete:
        notes.append("too many connections between recorded hosts: not all were joined")
    return notes
