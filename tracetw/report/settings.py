# SPDX-License-Identifier: Apache-2.0
"""Settings that look wrong, of the network namespaces in which recorded connections lived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracetw.doctor.recorded import advice, recorded
from tracetw.report.count.scan import Scan, ScannedRecording
from tracetw.report.model import SuspectSetting

_WORST = ("tw", "orphan")
_NAMED = 3
_FORGOTTEN = 0


def settings(scan: Scan) -> tuple[SuspectSetting, ...]:
    """Each with its reason and the namespaces it was found in, those with most connections first."""
    found: dict[tuple[str, str, str], SuspectSetting] = {}
    where: dict[tuple[str, str, str], list[str]] = {}
    for number, source in enumerate(scan.sources):
        header = source.recording.header
        worst = _worst(source)
        for netns in _lived(scan, number):
            facts = {**header.sysctls.get(netns, {}), **worst.get(netns, {})}
            for finding in recorded(facts, header.names.hz):
                key = (header.host, finding.about, finding.value)
                name = header.netns_names.get(netns, str(netns))
                if name not in where.setdefault(key, []):
                    where[key].append(name)
                found.setdefault(
                    key,
                    SuspectSetting(
                        header.host,
                        netns,
                        (),
                        finding.about,
                        finding.value,
                        "; ".join((finding.reason, *finding.evidence)),
                        advice(finding),
                    ),
                )
    return tuple(_placed(one, where[key]) for key, one in found.items())


def _placed(one: SuspectSetting, namespaces: list[str]) -> SuspectSetting:
    return SuspectSetting(
        one.host, one.netns, tuple(namespaces), one.name, one.value, one.reason, one.advice
    )


def place(namespaces: tuple[str, ...]) -> str:
    """``network namespaces web, db and 2 more``."""
    named = ", ".join(namespaces[:_NAMED])
    more = len(namespaces) - _NAMED
    noun = "network namespace" if len(namespaces) == 1 else "network namespaces"
    return f"{noun} {named}{f' and {more} more' if more > 0 else ''}"


def _lived(scan: Scan, number: int) -> Iterator[int]:
    """Namespaces of the connections that were chosen, those with most of them first.

    Where there were too many local addresses to tell the namespaces apart: all that have settings.
    """
    cells = scan.locals.cells()
    mine = cells[cells["source"] == number]
    counts: dict[int, int] = {}
    for netns, count in zip(mine["netns"].tolist(), mine["count"].tolist(), strict=True):
        counts[netns] = counts.get(netns, 0) + count
    if _FORGOTTEN in counts:
        yield from scan.sources[number].recording.header.sysctls
        return
    yield from sorted(counts, key=lambda netns: (-counts[netns], netns))


def _worst(source: ScannedRecording) -> Mapping[int, Mapping[str, int]]:
    """By namespace: the most sockets in TIME_WAIT and the most orphans at any moment."""
    worst: dict[int, dict[str, int]] = {}
    for sample in source.recording.samples():
        for netns in sample.counters if sample.changed is None else sample.changed:
            values, mine = sample.counters.get(netns, {}), worst.setdefault(netns, {})
            for name in _WORST:
                if name in values:
                    mine[name] = max(mine.get(name, 0), values[name])
    return worst
