# SPDX-License-Identifier: Apache-2.0
"""How far a recording can be believed: damage, losses, hooks, and the kernel's own counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracetw.event.record import Stat
from tracetw.recording.facts import Sample
from tracetw.replay.reconciled import ONLY_A_PART, reconciled
from tracetw.report.count.scan import Scan, ScannedRecording
from tracetw.report.filtered import recorded_only
from tracetw.report.model import RecordedHost
from tracetw.report.render.phrases import Words
from tracetw.sink.human import amount

_SHOWN = 20


def hosts(scan: Scan, words: Words, *, part: bool) -> tuple[RecordedHost, ...]:
    """Each recording, whether it is whole, and its reconciliation.

    Args:
        scan: the counts.
        words: how times are written.
        part: only a stretch of time was read: nothing can be reconciled.
    """
    return tuple(_host(source, words, part=part) for source in scan.sources)


def _host(source: ScannedRecording, words: Words, *, part: bool) -> RecordedHost:
    recording = source.recording
    header = recording.header
    rows, reason = reconciled(recording, source.stages)
    if part:
        rows, reason = None, ONLY_A_PART
    return RecordedHost(
        name=header.host,
        kernel=header.kernel,
        run=header.run,
        begin_ns=header.run_started_ns,
        end_ns=max(header.ended_ns or 0, source.last_ns, header.run_started_ns),
        closes=source.stages.judged,
        damage=tuple(str(one) for one in recording.damage[:_SHOWN]),
        losses=tuple(
            f"{amount(lost.records, 'record')} lost, {words.between(lost.since_ns, lost.until_ns)}:"
            f" {lost.where}"
            for lost in recording.losses()[:_SHOWN]
        ),
        gaps=tuple(_gaps(source, recording.moments())),
        reconciliation=rows,
        not_reconciled=reason,
    )


def _gaps(source: ScannedRecording, samples: Mapping[str, Sample]) -> Iterator[str]:
    header = source.recording.header
    if header.absent:
        yield f"the kernel had no hook for {', '.join(header.absent)}"
    if (only := recorded_only(header.filters, header.netns_names)) is not None:
        yield only
    if header.ended_ns is None:
        yield "the recording was not finished: it may still be written, or its host crashed"
    stats = samples["stopped"].stats if "stopped" in samples else {}
    for stat, noun, text in (
        (Stat.CONN_FULL, "connection", "began without room to be followed"),
        (Stat.END_FULL, "fact", "about the end of such a connection found no room"),
        (Stat.CLOSING_FULL, "end", "left before all was known about it: no room"),
        (Stat.LOST_LISTENERS, "death", "of a process that listened found no room"),
    ):
        if stats.get(stat.name, 0):
            yield f"{amount(stats[stat.name], noun)} {text}"
