# SPDX-License-Identifier: Apache-2.0
"""The handbook has all, speaks of what there is, and agrees with what was seen."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from scripts.verdict_pages.kept import load
from scripts.verdict_pages.mark import item, marked
from scripts.verdict_pages.picture import line_of
from tracetw.event.record import Drop, EventKind, Timewait
from tracetw.lab.catalogue import BY_NAME
from tracetw.sink.event_document import event_name
from tracetw.verdict.handbook import (
    DROP_EVENTS,
    HANDBOOK,
    SETTINGS,
    SYMPTOMS,
    TIMEWAIT_EVENTS,
    Event,
)
from tracetw.verdict.taxonomy import VERDICTS

CODES = [verdict.code for verdict in VERDICTS]
EVENTS = (*TIMEWAIT_EVENTS, *DROP_EVENTS)
SIGNS = {"local": "`>`", "remote": "`<`", "both": "`=`", "none": "`!`"}
# Nobody was there to get the error: the application had closed, or had not accepted yet.
UNSEEN = {"fin-exhausted", "abort-listener"}


def texts() -> Iterator[str]:
    """Every sentence of the handbook."""
    for entry in HANDBOOK.values():
        yield from (*entry.production, *entry.change, entry.sure)
        for tale in entry.folklore:
            yield from (tale.believed, tale.fact)
    for event in EVENTS:
        yield from (event.meaning, event.production)
        for tale in event.folklore:
            yield from (tale.believed, tale.fact)
    for tale in SETTINGS:
        yield from (tale.believed, tale.fact)


def test_every_verdict_and_every_event_has_an_entry() -> None:
    assert set(HANDBOOK) == set(CODES)
    for events, kind, codes in (
        (TIMEWAIT_EVENTS, EventKind.TIMEWAIT, Timewait),
        (DROP_EVENTS, EventKind.DROP, Drop),
    ):
        assert sorted(event.name for event in events) == sorted(
            event_name(kind, code) for code in codes
        )


@pytest.mark.parametrize("code", CODES)
def test_an_entry_is_complete(code: str) -> None:
    entry = HANDBOOK[code]
    assert entry.production
    assert entry.change
    assert code in BY_NAME[entry.shown_by].verdicts()


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_an_event_is_shown_by_a_scenario_that_wants_it(event: Event) -> None:
    wanted = BY_NAME[event.shown_by].events.values()
    assert any(events.get(event.name, 0) != 0 for events in wanted)


@pytest.mark.parametrize("text", list(texts()), ids=lambda text: text[:40])
def test_texts_are_sentences(text: str) -> None:
    assert text.isascii()
    assert text[-1] in ".?)"
    assert text.count("`") % 2 == 0
    # A line that happens to begin like an item of a list would become one.
    for line in item(marked(text)).splitlines()[1:]:
        assert not re.match(r"\s*([-+*>#]|\d+[.)]) ", line), line


def test_folklore_names_where_it_is_refuted() -> None:
    """A function or constant of the kernel, a counter, an errno, a version or a ladder."""
    place = re.compile(r"\w+_\w+|TCP[A-Z]\w+|\bE[A-Z]{5,}|\b[4-9]\.\d+|ladder|SO_\w+")
    tales = [tale for entry in HANDBOOK.values() for tale in entry.folklore]
    tales += [tale for event in EVENTS for tale in event.folklore]
    assert len(tales) > len(CODES)
    assert [tale.believed for tale in (*tales, *SETTINGS) if not place.search(tale.fact)] == []


def rows() -> Iterator[tuple[str, tuple[str, ...]]]:
    return ((row.seen, row.verdicts) for table in SYMPTOMS.values() for row in table)


def test_every_verdict_can_be_found_by_a_symptom() -> None:
    assert {code for _, verdicts in rows() for code in verdicts} == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_symptoms_agree_with_what_was_seen(code: str) -> None:
    _, line = line_of(load(HANDBOOK[code].shown_by), code)
    sign = SIGNS[line["first_close"]]
    assert [seen for seen, verdicts in rows() if seen.startswith(sign) and code in verdicts]
    if line["error"] and code not in UNSEEN:
        assert [seen for seen, verdicts in rows() if line["error"] in seen and code in verdicts]


@pytest.mark.parametrize("code", CODES)
def test_counters_agree_with_what_was_seen(code: str) -> None:
    """What the kernel counted at the end with the verdict, as far as the scenario names it."""
    outcome = load(HANDBOOK[code].shown_by)
    letter, _ = line_of(outcome, code)
    if {line["verdict"] for line in outcome.lines[letter]} != {code}:
        return  # whose count it was cannot be told
    table = next(table for title, table in SYMPTOMS.items() if "nstat" in title)
    for name, times in outcome.counters.get(letter, {}).items():
        listed = [row.verdicts for row in table if name in row.seen.split(", ")]
        assert not times or not listed or any(code in verdicts for verdicts in listed), name


@pytest.mark.parametrize(
    ("plain", "markdown"),
    [
        ("SO_LINGER 0 in tcp_close().", "`SO_LINGER` 0 in `tcp_close()`."),
        ("net.ipv4.tcp_mem, /proc/net/sockstat", "`net.ipv4.tcp_mem`, `/proc/net/sockstat`"),
        ("abort-unread and a mini-socket", "[`abort-unread`](#abort-unread) and a mini-socket"),
        ("`ss -K` of [TIME_WAIT](#time_wait)", "`ss -K` of [TIME_WAIT](#time_wait)"),
        ("ECONNRESET in ESTAB", "`ECONNRESET` in ESTAB"),
        ("peer-reset here", "peer-reset here"),
    ],
)
def test_marked(plain: str, markdown: str) -> None:
    assert marked(plain, here="peer-reset") == markdown
