# SPDX-License-Identifier: Apache-2.0
"""The handbook is complete, names only what exists, decides by questions, and agrees with what was seen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from scripts.checkout.made import ROOT
from scripts.pages.ladder_file import load
from scripts.pages.mark import item, marked
from scripts.pages.picture import line_of
from tracetw.cli.explain import command as explain
from tracetw.event.record import Drop, EventKind, Timewait
from tracetw.lab.catalogue import BY_NAME
from tracetw.sink.event_document import event_name
from tracetw.verdict.handbook import (
    DROP_EVENTS,
    EVENTS,
    GUIDES,
    HANDBOOK,
    HEADINGS,
    SETTINGS,
    SYMPTOMS,
    TIMEWAIT_EVENTS,
    Choice,
    EventEntry,
    Guide,
    Symptom,
)
from tracetw.verdict.handbook.missing import REMEDIES
from tracetw.verdict.missing import MISSING
from tracetw.verdict.taxonomy import VERDICTS

CODES = [verdict.code for verdict in VERDICTS]
FOLDER = ROOT / "docs" / "verdicts"
LONGEST = 150
"""Lines of a page: what somebody on call reads must stay short."""
SIGNS = {"local": "`>`", "remote": "`<`", "both": "`=`", "none": "`!`"}
# Nobody was there to get the error: the application had closed, or had not accepted yet.
UNSEEN = {"fin-exhausted", "abort-listener"}


def texts() -> Iterator[str]:
    """Every sentence of the handbook."""
    for guide in GUIDES.values():
        yield from (guide.means, *guide.now, *guide.settings, guide.sure)
        for cause in guide.causes:
            yield from filter(None, (cause.ask, cause.yes, cause.no))
        for tale in guide.folklore:
            yield from (tale.believed, tale.fact)
    yield from REMEDIES.values()
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


@pytest.mark.parametrize("guide", GUIDES.values(), ids=list(GUIDES))
def test_a_guide_is_complete(guide: Guide) -> None:
    assert guide.now
    assert guide.causes
    assert guide.settings
    assert guide.sure


@pytest.mark.parametrize("guide", GUIDES.values(), ids=list(GUIDES))
def test_every_cause_has_a_question_that_decides(guide: Guide) -> None:
    """Each question has an answer to *yes*, the last one to *no* as well: nobody is left without a cause."""
    for at, cause in enumerate(guide.causes):
        assert cause.ask.endswith("?"), cause.ask
        assert len(named(cause.ask + cause.yes + cause.no)) <= 5, cause
        assert bool(cause.no) == (at == len(guide.causes) - 1), cause


def test_every_missing_fact_has_a_remedy() -> None:
    assert REMEDIES.keys() == MISSING.keys()
    assert [fact.name for fact in GUIDES["undetermined"].lacked] == list(MISSING)


@pytest.mark.parametrize("code", CODES)
def test_a_verdict_is_shown_by_a_scenario_that_wants_it(code: str) -> None:
    assert code in BY_NAME[HANDBOOK[code].shown_by].verdicts()


@pytest.mark.parametrize("name", GUIDES)
def test_page_and_terminal_say_the_same_in_the_same_order(name: str) -> None:
    guide = GUIDES[name]
    page = FOLDER.joinpath(f"{name}.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert tuple(titles[: len(HEADINGS)]) == HEADINGS
    assert page.index(f"## {HEADINGS[-1]}") < page.index("<details>")
    for part in ("Packets", "JSON", "Mechanism and proof"):
        assert f"<details><summary>{part}</summary>" in page
    shown = CliRunner().invoke(explain, [name]).output
    places = [shown.index(f"\n{title}\n") for title in (*HEADINGS, "Mechanism and proof")]
    assert places == sorted(places)
    for text in (page, shown):
        squeezed = plain(text)
        for sentence in (*guide.now, *guide.settings, *(cause.ask for cause in guide.causes)):
            assert plain(sentence) in squeezed, sentence


def plain(text: str) -> str:
    """Without marks, quotes, links and line breaks."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub("[`']", "", words).split())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.name)
def test_a_page_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_an_event_is_shown_by_a_scenario_that_wants_it(event: EventEntry) -> None:
    wanted = BY_NAME[event.entry.shown_by].events.values()
    assert any(events.get(event.name, 0) != 0 for events in wanted)


@pytest.mark.parametrize("text", list(texts()), ids=lambda text: text[:40])
def test_texts_are_sentences(text: str) -> None:
    assert text.isascii()
    assert text[-1] in ".?)", text
    assert text.count("`") % 2 == 0
    # A line that happens to begin like an item of a list would become one.
    for line in item(marked(text)).splitlines()[1:]:
        assert not re.match(r"\s*([-+*>#]|\d+[.)]) ", line), line


def test_folklore_names_where_it_is_refuted() -> None:
    """A function or constant of the kernel, a counter, an errno, a version or a ladder."""
    place = re.compile(r"\w+_\w+|TCP[A-Z]\w+|\bE[A-Z]{5,}|\b[4-9]\.\d+|ladder|SO_\w+")
    tales = [tale for guide in GUIDES.values() for tale in guide.folklore]
    assert len(tales) > len(CODES)
    assert [tale.believed for tale in (*tales, *SETTINGS) if not place.search(tale.fact)] == []


SYMPTOM_ROWS = [row for table in SYMPTOMS.values() for row in table]


def named(text: str) -> set[str]:
    """Verdicts and events in a text: those with a hyphen, and others where a link or an answer has them."""
    words = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)+", text))
    return (
        words | {part.strip() for part in text.split(";")} | set(re.findall(r"\((\w+)\.md\)", text))
    ) & {*GUIDES}


def row(beginning: str) -> Symptom:
    (found,) = (each for each in SYMPTOM_ROWS if each.seen == beginning)
    return found


def verdicts(symptom: Symptom) -> set[str]:
    """All verdicts to which the questions of a row lead, those of the rows it sends to included."""
    return {code for choice in symptom.choices for code in leads_to(choice)}


def leads_to(choice: Choice) -> set[str]:
    return verdicts(row(choice.see)) if choice.see else named(choice.then)


def rows() -> Iterator[tuple[str, set[str]]]:
    return ((symptom.seen, verdicts(symptom)) for symptom in SYMPTOM_ROWS)


@pytest.mark.parametrize("symptom", SYMPTOM_ROWS, ids=lambda symptom: symptom.seen[:30])
def test_the_questions_of_a_symptom_decide(symptom: Symptom) -> None:
    """Each leads to one verdict (or to a page about an event as well); what is left has an *Else*."""
    for choice in symptom.choices:
        assert choice.see or 1 <= len(named(choice.then)) <= 2, choice
    *asked, last = symptom.choices
    assert all(choice.ask[-1] in "?.)" for choice in asked)
    assert last.ask[-1] in ".:)" or last.ask.endswith(("get", "later?"))


def test_every_verdict_can_be_found_by_a_symptom() -> None:
    assert {code for _, found in rows() for code in found} >= set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_symptoms_agree_with_what_was_seen(code: str) -> None:
    _, line = line_of(load(HANDBOOK[code].shown_by), code)
    sign = SIGNS[line["first_close"]]
    assert [seen for seen, found in rows() if seen.startswith(sign) and code in found]
    if line["error"] and code not in UNSEEN:
        assert [seen for seen, found in rows() if line["error"] in seen and code in found]


@pytest.mark.parametrize("code", CODES)
def test_counters_agree_with_what_was_seen(code: str) -> None:
    """What the kernel counted at the end with the verdict, as far as the scenario names it."""
    outcome = load(HANDBOOK[code].shown_by)
    letter, _ = line_of(outcome, code)
    if {line["verdict"] for line in outcome.lines[letter]} != {code}:
        return  # whose count it was cannot be told
    table = next(table for title, table in SYMPTOMS.items() if "nstat" in title)
    for name, times in outcome.counters.get(letter, {}).items():
        listed = [verdicts(each) for each in table if name in each.seen.split(", ")]
        assert not times or not listed or any(code in found for found in listed), name


@pytest.mark.parametrize(
    ("plain", "markdown"),
    [
        ("SO_LINGER 0 in tcp_close().", "`SO_LINGER` 0 in `tcp_close()`."),
        ("net.ipv4.tcp_mem, /proc/net/sockstat", "`net.ipv4.tcp_mem`, `/proc/net/sockstat`"),
        ("abort-unread and a mini-fin", "[`abort-unread`](abort-unread.md) and a mini-fin"),
        ("`ss -K` of [TIME_WAIT](entered.md)", "`ss -K` of [TIME_WAIT](entered.md)"),
        ("ECONNRESET in ESTAB", "`ECONNRESET` in ESTAB"),
        ("peer-reset here", "peer-reset here"),
    ],
)
def test_marked(plain: str, markdown: str) -> None:
    assert marked(plain, here="peer-reset") == markdown
