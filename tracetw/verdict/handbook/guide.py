# SPDX-License-Identifier: Apache-2.0
"""All that is to be said of a verdict or an event, in the order in which somebody on call needs it.

``tracetw explain`` prints it as text, ``scripts/gen-verdicts`` writes it as a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tracetw.verdict.handbook.aborts import ABORTS
from tracetw.verdict.handbook.attempts import ATTEMPTS
from tracetw.verdict.handbook.closes import CLOSES
from tracetw.verdict.handbook.drops import DROP_EVENTS
from tracetw.verdict.handbook.entry import EventEntry, OnCall
from tracetw.verdict.handbook.missing import REMEDIES
from tracetw.verdict.handbook.mptcp import MPTCP
from tracetw.verdict.handbook.timeouts import TIMEOUTS
from tracetw.verdict.handbook.timewait import TIMEWAIT_EVENTS
from tracetw.verdict.missing import MISSING
from tracetw.verdict.taxonomy import VERDICTS, Verdict

HEADINGS = ("What it means", "Do now", "Likely causes", "Settings")
"""Of the parts that every guide has, in order; what proves it comes after them."""

HANDBOOK: Mapping[str, OnCall] = {**CLOSES, **ABORTS, **TIMEOUTS, **ATTEMPTS, **MPTCP}
"""Code of a verdict to its entry."""

EVENTS: tuple[EventEntry, ...] = (*TIMEWAIT_EVENTS, *DROP_EVENTS)


@dataclass(frozen=True, slots=True)
class Lacked:
    """A fact that an undetermined end can lack: its name, what it is, and what to do about it."""

    name: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide(OnCall):
    """Every text on one verdict or event: its entry, with the advice of the taxonomy first, and more.

    Attributes:
        name: code of the verdict, name of the event.
        kind: ``normal``, ``look into it if frequent``, or ``event``.
        means: one sentence.
        seen_by: the side whose line has it; empty for an event.
        lacked: of ``undetermined`` alone, the facts that can be missing.
        mechanism: kernel functions or RFC.
        ways: groups of evidence, one of which proves it.
    """

    name: str
    kind: str
    means: str
    mechanism: str
    seen_by: str = ""
    lacked: tuple[Lacked, ...] = ()
    ways: tuple[tuple[str, ...], ...] = ()


def _guide(entry: OnCall, advice: str, **more: Any) -> Guide:  # noqa: ANN401 (the fields of Guide itself)
    same = {each.name: getattr(entry, each.name) for each in fields(OnCall)}
    return Guide(**{**same, "now": (advice, *entry.now)}, **more)


def _of_verdict(verdict: Verdict) -> Guide:
    lacked = [Lacked(name, what, REMEDIES[name]) for name, what in MISSING.items()]
    return _guide(
        HANDBOOK[verdict.code],
        verdict.advice,
        name=verdict.code,
        kind="look into it if frequent" if verdict.abnormal else "normal",
        means=verdict.meaning,
        seen_by=verdict.seen_by,
        lacked=tuple(lacked) if verdict.code == "undetermined" else (),
        mechanism=verdict.mechanism,
        ways=tuple(group for group in verdict.requires if group),
    )


def _of_event(event: EventEntry) -> Guide:
    told = {"name": event.name, "means": event.meaning, "mechanism": event.mechanism}
    return _guide(event.entry, event.advice, kind="event", **told)


GUIDES: Mapping[str, Guide] = {
    guide.name: guide for guide in (*map(_of_verdict, VERDICTS), *map(_of_event, EVENTS))
}
"""Verdicts in the order of the taxonomy, then events."""
