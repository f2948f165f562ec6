# SPDX-License-Identifier: Apache-2.0
"""Incidents in the page of ``report --html``, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.devtools import Browser, browser, texts
from tests.browser.pages import many_incidents
from tests.unit.report_rows import Memory, traffic
from tracetw.report.build import build
from tracetw.report.render.html import page

pytestmark = pytest.mark.browser

REPORT = many_incidents(b"<b>x</b>")


@pytest.fixture(scope="module")
def shown(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.html").write_text(page(REPORT, utc=True), encoding="utf-8")
    with browser(chromium, folder / "profile") as one:
        one.size(1280, 900)
        one.open(folder / "page.html")
        yield one
        assert one.complaints == []


def test_the_page_opens_on_all_of_them_in_time(shown: Browser) -> None:
    assert len(REPORT.incidents) == 16
    assert shown.run("document.querySelector('main > section:nth-of-type(2)').id") == "incidents"
    titles = [one.title for one in REPORT.incidents]
    assert texts(shown, "#incidents .lanes .what") == titles
    assert texts(shown, "#incidents summary") == ["4 more incidents"]
    said = texts(shown, "#incidents .lanes .soft")[0]
    assert said == "12:01:40.000 to 12:01:54.500 (14.5 s), 30 connections"


def test_a_bar_stands_above_its_time_in_the_chart(shown: Browser) -> None:
    shown.screenshot()
    script = """[...document.querySelectorAll('#incidents > .lanes .track i')].map((bar, at) => {
      const [one, mark] = [bar, document.querySelectorAll('#timeline .mark')[at]].map((node) => node.getBoundingClientRect());
      return Math.max(Math.abs(one.left - mark.left), Math.abs(one.right - mark.right));
    })"""
    found = shown.run(script)
    assert len(found) == 12
    assert max(found) <= 4


def test_each_has_a_section_with_its_own_connections(shown: Browser) -> None:
    for one in REPORT.incidents:
        here = f"#incident-{one.number}"
        assert texts(shown, f"{here} h2") == [f"{one.number}{one.title}"]
        assert texts(shown, f"{here} > p.any") == [one.sentence]
        assert texts(shown, f"{here} .phases span") == [phase.text for phase in one.phases]
        ours = [story.number for story in REPORT.stories if story.incident == one.number]
        assert ours == list(one.stories)
        assert len(texts(shown, f"{here} tr.pick")) == len(ours)
        assert texts(shown, f"{here} > h3") == [f"Connections: {len(ours)} of {one.total}"]
        port = 8000 + one.number - 1
        assert all(f":{port}" in text for text in texts(shown, f"{here} tr.pick"))
    target = "document.querySelectorAll('#incidents a')[13]"
    assert shown.run(f"document.querySelector({target}.getAttribute('href')).id") == "incident-14"


def test_a_connection_of_an_incident_opens_in_it(shown: Browser) -> None:
    shown.run("document.querySelector('#incident-5 tr.pick').click()")
    assert texts(shown, "#incident-5 .story h3") == ["connect-refused"]
    assert texts(shown, "#incident-5 .ladder .label") == ["SYN", "RST", "connect-refused"]
    assert texts(shown, "#incident-5 .ladder .here .state") == ["SYN_SENT", "CLOSE"]


def test_what_belongs_to_none_is_counted(shown: Browser) -> None:
    outside = REPORT.affected - REPORT.in_incidents
    assert (REPORT.in_incidents, outside) == (480, 180)
    assert texts(shown, "#incidents > .hint") == [
        "480 of 660 connections that went wrong belong to incidents; 180 to none (below)."
    ]
    assert texts(shown, "#causes h2") == ["What belongs to no incident"]
    assert len(texts(shown, "#causes li")) == 1
    assert "660" in texts(shown, "#summary .tile span")[-1]


def test_names_stay_text(shown: Browser) -> None:
    assert shown.run("document.querySelectorAll('main b b, #each dd b').length") == 0
    assert any("<b>x</b>" in text for text in texts(shown, "#each dd"))


def test_without_incidents_the_page_says_so(shown: Browser, tmp_path: Path) -> None:
    path = tmp_path / "quiet.html"
    path.write_text(page(build([Memory(*traffic())], utc=True), utc=True), encoding="utf-8")
    shown.open(path)
    assert texts(shown, "#incidents > .hint") == [
        "No incident: 180 connections went wrong, at no time more often than at others."
    ]
    assert texts(shown, "#summary .tile b")[-1] == "no incident"
