# SPDX-License-Identifier: Apache-2.0
"""All that is to be said of a verdict or an event, in the order in which somebody on call needs it.

``tracetw explain`` prints it as text, ``scripts/gen-verdicts`` writes it as a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracetw.verdict.handbook.aborts import ABORTS
from tracetw.verdict.handbook.attempts import ATTEMPTS
from tracetw.verdict.handbook.closes import CLOSES
from tracetw.verdict.handbook.drops import DROP_EVENTS
from tracetw.verdict.handbook.entry import EventEntry, Folklore, OnCall, Question
from tracetw.verdict.handbook.missing import REMEDIES
from tracetw.verdict.handbook.mptcp import MPTCP
from tracetw.verdict.handbook.timeouts import TIMEOUTS
from tracetw.verdict.handbook.timewait import TIMEWAIT_EVENTS
from tracetw.verdict.missing import MISSING
from tracetw.verdict.taxonomy import VERDICTS, Verdict

__all__ = ["EVENTS", "GUIDES", "HANDBOOK", "HEADINGS", "Guide", "Lacked"]

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


@dataclass(frozen=True, slots=True)
class Guide:
    """Every text on one verdict or event.

    Attributes:
        name: code of the verdict, name of the event.
        kind: ``normal``, ``look into it if frequent``, or ``event``.
        means: one sentence.
        seen_by: the side whose line has it; empty for an event.
        now: first steps.
        causes: questions in order; the last one has both answers.
        settings: with values and costs.
        lacked: of ``undetermined`` alone, the facts that can be missing.
        shown_by: scenario of the lab.
        mechanism: kernel functions or RFC.
        ways: groups of evidence, one of which proves it.
        sure: what is proven and what concluded.
        folklore: what people get wrong.
    """

    name: str
    kind: str
    means: str
    seen_by: str
    now: tuple[str, ...]
    causes: tuple[Question, ...]
    settings: tuple[str, ...]
    lacked: tuple[Lacked, ...]
    shown_by: str
    mechanism: str
    ways: tuple[tuple[str, ...], ...]
    sure: str
    folklore: tuple[Folklore, ...]


def _of_verdict(verdict: Verdict) -> Guide:
    entry = HANDBOOK[verdict.code]
    lacked = [Lacked(name, what, REMEDIES[name]) for name, what in MISSING.items()]
    return Guide(
        verdict.code,
        "look into it if frequent" if verdict.abnormal else "normal",
        verdict.meaning,
        verdict.seen_by,
        (verdict.advice, *entry.now),
        entry.causes,
        entry.settings,
        tuple(lacked) if verdict.code == "undetermined" else (),
        entry.shown_by,
        verdict.mechanism,
        tuple(group for group in verdict.requires if group),
        entry.sure,
        entry.folklore,
    )


def _of_event(event: EventEntry) -> Guide:
    entry = event.entry
    return Guide(
        event.name,
        "event",
        event.meaning,
        "",
        (event.advice, *entry.now),
        entry.causes,
        entry.settings,
        (),
        entry.shown_by,
        event.mechanism,
        (),
        entry.sure,
        entry.folklore,
    )


GUIDES: Mapping[str, Guide] = {
    guide.name: guide for guide in (*map(_of_verdict, VERDICTS), *map(_of_event, EVENTS))
}
"""Verdicts in the order of the taxonomy, then events."""
