# SPDX-License-Identifier: Apache-2.0
"""Names of the addresses that a report shows, and who listened on the ports of its incidents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tracetw.recording.reader import Recording
from tracetw.report.model import Incident, Report
from tracetw.sink.human import endpoint
from tracetw.stream.known import Ask

_MOST = 5


def address_names(
    report: Report, recordings: Sequence[Recording], ask: Ask | None = None
) -> Mapping[str, str]:
    """Of an address whose name differs from host to host there is none.

    Args:
        report: what is shown.
        recordings: with the names in ``/etc/hosts`` of their hosts.
        ask: for those that have none there.
    """
    shown = {*_shown(report)}
    found: dict[str, str] = {}
    for address in shown:
        names = {recording.header.host_names.get(address) for recording in recordings} - {None}
        if len(names) == 1:
            found[address] = str(names.pop())
    if ask is not None:
        found.update(ask(shown - found.keys()))
    return found


def _shown(report: Report) -> Iterator[str]:
    for one in report.incidents:
        yield from one.peers
        if one.service is not None:
            yield one.service.address
    for cause in report.causes:
        yield from cause.peers
    for row in report.peers:
        yield row.name
    for story in report.stories:
        for end in ("local", "remote"):
            if story.close[end]["addr"] is not None:
                yield story.close[end]["addr"]


def named(address: str, names: Mapping[str, str]) -> str:
    """``10.0.0.2 (db1)``"""
    name = names.get(address)
    return address if name is None else f"{address} ({name})"


def known_of_incident(incident: Incident, names: Mapping[str, str]) -> Iterator[str]:
    """``10.0.0.3:9101 is api, api.service``"""
    one = incident.service
    if one is not None:
        parts = [names.get(one.address), one.comm, one.container or one.unit]
        known = ", ".join(part for part in parts if part)
        if known:
            yield f"{endpoint(one.address, one.port)} is {known}"
    told = [address for address in incident.peers if address in names][:_MOST]
    yield from (f"{address} is {names[address]}" for address in told)
