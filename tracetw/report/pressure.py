# SPDX-License-Identifier: Apache-2.0
"""TIME_WAIT, buckets and local ports against their limits."""

from __future__ import annotations

from collections.abc import Iterator

from tracetw.report.count.keys import address
from tracetw.report.count.scan import Scan
from tracetw.report.count.time_wait import NO_PORT, PORT, SKIPPED, Peak
from tracetw.report.model import Pressure
from tracetw.report.render.phrases import Words
from tracetw.report.settings import place
from tracetw.sink.human import endpoint

_SERIOUS = 0.8
_WORTH_SAYING = 0.1
_MANY = 1000


def pressures(scan: Scan, words: Words) -> tuple[Pressure, ...]:
    """What ran out or came near to it, the serious ones first."""
    found = [*_missing(scan, words), *_peaks(scan, words)]
    return tuple(sorted(found, key=lambda one: (not one.serious, -one.held)))


def _where(scan: Scan, source: int, netns: int) -> str:
    """The host, and the namespace if it is not that of the recorder."""
    header = scan.sources[source].recording.header
    if netns in {header.netns, 0}:
        return scan.hosts[source]
    return f"{scan.hosts[source]}, {place((header.netns_names.get(netns, str(netns)),))}"


def _limit(scan: Scan, source: int, netns: int, name: str) -> int | None:
    sysctls = scan.sources[source].recording.header.sysctls
    return sysctls.get(netns, {}).get(name)


def _peaks(scan: Scan, words: Words) -> Iterator[Pressure]:
    for peak in scan.waits.peaks(least=100):
        name = "ports" if peak.kind == PORT else "net.ipv4.tcp_max_tw_buckets"
        limit = _limit(scan, peak.source, peak.netns, name)
        part = peak.held / limit if limit else 0.0
        if part < _WORTH_SAYING and peak.held < _MANY:
            continue
        yield Pressure(
            host=scan.hosts[peak.source],
            netns=peak.netns,
            what="local ports" if peak.kind == PORT else "TIME_WAIT buckets",
            held=peak.held,
            limit=limit,
            at_ns=peak.at_ns,
            serious=part >= _SERIOUS,
            sentence=_sentence(scan, peak, limit, part, words),
        )


def _sentence(scan: Scan, peak: Peak, limit: int | None, part: float, words: Words) -> str:
    when, host = words.time(peak.at_ns), _where(scan, peak.source, peak.netns)
    of = f" of {limit:,}" if limit else ""
    if peak.kind == PORT:
        peer = endpoint(address(*peak.peer), peak.port)
        text = f"{host}: {peak.held:,}{of} local ports towards {peer} were in TIME_WAIT at {when}"
        if part >= _SERIOUS:
            text += "; when all are taken, connect() fails with EADDRNOTAVAIL: keep connections"
            text += " open, use a pool, or let the peer close first"
        return text
    text = f"{host}: {peak.held:,}{of} TIME_WAIT buckets were in use at {when}"
    return text + ("; beyond the limit TIME_WAIT is skipped" if part >= _SERIOUS else "")


def _missing(scan: Scan, words: Words) -> Iterator[Pressure]:
    """Those that were refused a bucket or a port."""
    for kind, what, text in (
        (SKIPPED, "TIME_WAIT skipped", "closes skipped TIME_WAIT because all buckets were taken"),
        (NO_PORT, "no local port", "calls of connect() found no local port"),
    ):
        cells = scan.waits.counts(kind)
        for source, host in enumerate(scan.hosts):
            mine = cells[cells["source"] == source]
            for netns in {*mine["netns"].tolist()}:
                part = mine[mine["netns"] == netns]
                count, first = int(part["count"].sum()), int(part["first"].min())
                yield Pressure(
                    host=host,
                    netns=netns,
                    what=what,
                    held=count,
                    limit=None,
                    at_ns=first,
                    serious=True,
                    sentence=f"{_where(scan, source, netns)}: {count:,} {text},"
                    f" from {words.time(first)} on",
                )
