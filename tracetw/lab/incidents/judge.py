# SPDX-License-Identifier: Apache-2.0
"""Does a report tell the truth? Its JSON, its text and its page against what the load knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import unescape
from typing import Any

__all__ = ["Told", "problems"]

SECOND, MILLISECOND = 10**9, 10**6
PERCENT = 100
# What an application sees, as a report's phases name it.
PHASES = {
    "reset": "reset",
    "refused": "refused",
    "timed_out": "timed-out",
    "closed": "closed",
    "no_port": "no-port",
    "unreachable": "unreachable",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What ``tracetw report`` said of one recording or several: JSON, text and page, in UTC."""

    document: Mapping[str, Any]
    text: str
    page: str


def problems(truth: Mapping[str, Any], told: Told) -> list[str]:
    """One sentence for each thing that is not as it happened; none: the report tells the truth."""
    return [*_problems(truth, told)]


def _problems(truth: Mapping[str, Any], told: Told) -> Iterator[str]:
    document = told.document
    if "incidents" not in document:
        yield "the report tells of no incidents"
        return
    shown = list(document["incidents"])
    for one in truth["incidents"]:
        found = _the_one(one, shown)
        if found is None:
            yield f"no incident {one['cause']} of port {one['port']} in the report"
            continue
        shown.remove(found)
        # A report tells the times by the clock of its first host.
        ahead = truth["hosts"][document["hosts"][0]["name"]]["ahead_ns"]
        for problem in (*_compared(one, found, ahead), *_said(found, told)):
            yield f"{one['cause']}: {problem}"
    for other in shown:
        yield f"an incident that did not happen: {other['kind']}, {other['title']}"
    names = {host["netns_name"] for host in truth["hosts"].values()}
    for setting in document["settings"]:
        if not names >= {*setting["namespaces"]}:
            yield f"a setting where no recorded connection lived: {setting}"
    yield from _clocks(truth, document)
    for cause in document["causes"]:
        yield f"a cause that belongs to no incident: {cause['sentence']}"
    if document["affected"] != document["in_incidents"]:
        yield f"{document['in_incidents']} of {document['affected']} affected are in incidents"


def _clocks(truth: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    """Between two recorded hosts the report must know how far one clock is ahead of the other."""
    hosts = truth["hosts"]
    if len(hosts) > 1 and not document["clocks"]:
        yield "nothing is said of the clocks"
    for clock in document["clocks"]:
        ahead = hosts[clock["host"]]["ahead_ns"] - hosts[clock["other"]]["ahead_ns"]
        if abs(clock["offset_ms"] * MILLISECOND - ahead) > MILLISECOND:
            yield f"{clock['sentence']}: it is {ahead / SECOND:+.3f} s"


def _the_one(truth: Mapping[str, Any], shown: Sequence[Any]) -> Any:  # noqa: ANN401 (JSON)
    """The incident of the report that is meant: of its kind and, if it has one, its port."""
    for one in shown:
        port = (one["service"] or {}).get("port", truth["port"])
        if (one["kind"], port) == (truth["cause"], truth["port"]):
            return one
    return None


def _compared(truth: Mapping[str, Any], shown: Mapping[str, Any], ahead: int) -> Iterator[str]:
    began = wall_ns(shown["began"]) - truth["at_ns"] - ahead
    if abs(began) >= SECOND:
        yield f"began {began / SECOND:+.3f} s from the act"
    until = truth["until_ns"]
    if until is not None and shown["recovered"] is not None:
        after = wall_ns(shown["recovered"]) - until - ahead
        if abs(after) >= SECOND:
            yield f"recovered {after / SECOND:+.3f} s from when it was undone"
    yield from _reached(truth, shown)
    yield from _who(truth, shown["service"] or {}, shown["actor"] or {})


def _reached(truth: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[str]:
    reach = sum(truth["reach"].values())
    if abs(shown["total"] - reach) > _slack(reach):
        yield f"reach {shown['total']}, not {reach} ({truth['reach']})"
    counts: dict[str, int] = {}
    for phase in shown["phases"]:
        counts[phase["what"]] = counts.get(phase["what"], 0) + phase["count"]
    for outcome, number in truth["reach"].items():
        if abs(counts.get(PHASES[outcome], 0) - number) > _slack(reach):
            yield f"{outcome} {counts.get(PHASES[outcome], 0)}, not {number}"


def _who(
    truth: Mapping[str, Any], service: Mapping[str, Any], actor: Mapping[str, Any]
) -> Iterator[str]:
    for name in ("address", "port"):
        if service.get(name) != truth[name]:
            yield f"the {name} of the service is {service.get(name)}, not {truth[name]}"
    who = actor.get("comm"), actor.get("pid")
    if truth["process"] and who != (truth["process"], truth["pid"]):
        yield f"it was {who}, not {truth['process']} (pid {truth['pid']})"


def _slack(reach: int) -> int:
    """One percent of the reach: nothing below a hundred.

    A connection may end the moment it is hit: its client has the answer, and its server died with it open.
    """
    return reach // PERCENT


def _said(shown: Mapping[str, Any], told: Told) -> Iterator[str]:
    """The title, and the second in which it began, must be in the text and on the page."""
    began = datetime.fromtimestamp(wall_ns(shown["began"]) // SECOND, tz=timezone.utc)
    for where, words in (("text", _plain(told.text)), ("page", _plain(unescape(told.page)))):
        for wanted in (_plain(shown["title"]), f"{began:%H:%M:%S}"):
            if wanted not in words:
                yield f"the {where} does not say {wanted!r}"


def _plain(text: str) -> str:
    return " ".join(text.split())


def wall_ns(text: str) -> int:
    """Nanoseconds since 1970 of ``2026-01-02T03:04:05.000000006Z``."""
    whole, _, rest = text.rstrip("Z").partition(".")
    second = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return int(second.timestamp()) * SECOND + int(rest.ljust(9, "0") or "0")
