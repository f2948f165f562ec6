# SPDX-License-Identifier: Apache-2.0
"""What docs/verdicts/ shows was seen: it is still all that its scenario claims."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts.checkout.made import ROOT
from scripts.pages.ladder_file import FOLDER, as_text, load
from scripts.pages.page import event_of, shown
from scripts.pages.picture import json_of, line_of, telling
from tracetw.lab.book.contents import scenarios
from tracetw.lab.expect.match import differences
from tracetw.lab.expect.scenario import as_lines
from tracetw.lab.net.wire import disagreements
from tracetw.lab.play.check import check_events, check_lines, check_sums
from tracetw.lab.play.ladder import ladder_of
from tracetw.lab.play.outcome import ENDS
from tracetw.verdict.handbook import EVENTS, HANDBOOK, EventEntry

FILES = sorted(FOLDER.iterdir())


def page(name: str) -> str:
    return (ROOT / "docs" / "verdicts" / f"{name}.md").read_text(encoding="utf-8")


def test_there_is_one_for_each_scenario_shown() -> None:
    assert {path.stem for path in FILES} == {*shown(), *scenarios()}
    assert {path.suffix for path in FILES} == {".json"}


@pytest.mark.parametrize("name", dict.fromkeys((*shown(), *scenarios())))
def test_what_was_seen_is_what_the_scenario_claims(name: str) -> None:
    outcome = load(name)
    scenario = outcome.job.scenario
    assert disagreements(scenario.wire, scenario.order, outcome.segments) == []
    for letter in ENDS:
        expected = as_lines(getattr(scenario, letter))
        assert check_lines(letter, expected, outcome.lines[letter]) == []
        assert check_events(letter, scenario.events.get(letter, {}), outcome.events[letter]) == []
        counters = outcome.counters.get(letter, {})
        assert differences(scenario.counters.get(letter, {}), counters, letter) == []
        differs = scenario.differs.get(letter, {})
        assert check_sums(letter, outcome.lines[letter], counters, differs) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_nothing_of_the_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert as_text(json.loads(text)) == text
    assert set(re.findall(r'"host": "([^"]*)"', text)) <= {"host-a", "host-b"}
    assert set(re.findall(r'"cgroup": ("[^"]*"|null)', text)) <= {'"/"', "null"}
    assert set(re.findall(r'"container": ("[^"]*"|null)', text)) <= {"null"}
    assert set(re.findall(r'"time": "([^T]*)T', text)) <= {"2026-01-01"}


@pytest.mark.parametrize("code", HANDBOOK)
def test_a_verdict_shows_its_packets_and_its_json(code: str) -> None:
    outcome = load(HANDBOOK[code].shown_by)
    letter, line = line_of(outcome, code)
    block = "\n".join(json_of(telling(line)))
    assert f"```\n{chr(10).join(ladder_of(outcome, line))}\n```" in page(code)
    assert f"```json\n{block}\n```" in page(code)
    said = json.loads(block)
    assert said.items() <= line.items()
    expected = as_lines(getattr(outcome.job.scenario, letter))
    assert any(
        differences({name: wanted for name, wanted in one.items() if name in said}, said) == []
        for one in expected
        if one.get("verdict") == code
    )


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_an_event_shows_its_packets_and_its_json(event: EventEntry) -> None:
    outcome = load(event.entry.shown_by)
    _, line = event_of(outcome, event.name)
    block = "\n".join(json_of(telling(line)))
    assert json.loads(block)["event"] == event.name
    assert f"```json\n{block}\n```" in page(event.name)
    ladder = list(ladder_of(outcome, line))
    assert any(f"({event.name})" in row for row in ladder)
    assert f"```\n{chr(10).join(ladder)}\n```" in page(event.name)


def test_json_is_broken_into_short_lines() -> None:
    states = [{"state": "ESTABLISHED", "at_ms": number + 0.5} for number in range(5)]
    document = {"verdict": "orderly", "states": states, "why": "x" * 120, "evidence": ["a", "b"]}
    lines = list(json_of(document))
    assert json.loads("\n".join(lines)) == document
    assert max(len(line) for line in lines if "why" not in line) <= 100
