# SPDX-License-Identifier: Apache-2.0
"""The page of ``report --html`` in a real Chromium."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from tests.browser.devtools import Browser, browser, find_chromium
from tests.unit.report_rows import Memory, connections, outage, traffic
from tracetw.report.build import build
from tracetw.report.render.html import page

pytestmark = pytest.mark.browser

CHROMIUM = find_chromium()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        assert "CI" not in os.environ, "chromium is not installed"
        pytest.skip("chromium is not installed")
    folder = tmp_path_factory.mktemp("page")
    ports, times = 50000 + np.arange(12), 1500.0 + np.arange(12)
    here = connections("peer-reset", times, remote="10.0.0.9", lport=443, rport=ports, server=True)
    there = connections("peer-reset", times, local="10.0.0.9", remote="10.0.0.1", lport=ports)
    report = build(
        [
            Memory(*traffic(), *outage(), here),
            Memory(there, host="</script><b>client", run="2"),
        ],
        utc=True,
    )
    path = folder / "incident.html"
    path.write_text(page(report, utc=True), encoding="utf-8")
    with browser(CHROMIUM, folder / "profile") as one:
        one.open(path)
        yield one
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith(("file:", "data:"))] == []


def texts(shown: Browser, selector: str) -> list[str]:
    found = shown.run(
        f"[...document.querySelectorAll({selector!r})].map((node) => node.textContent)"
    )
    assert isinstance(found, list)
    return found


def test_it_tells_the_causes(shown: Browser) -> None:
    sentences = texts(shown, "#causes li p:first-child")
    assert sentences[0].startswith("10.1.2.3:5432 stopped answering at 12:16:40: 412 connections")
    assert "</script><b>client" in " ".join(texts(shown, "#both li"))
    assert shown.run("document.querySelectorAll('b b, header b').length") == 0


def test_it_draws(shown: Browser) -> None:
    assert shown.run("document.querySelectorAll('#timeline svg rect').length") > 10
    assert shown.run("document.querySelectorAll('#heat td button').length") > 5
    assert "RST ACK: from between" in texts(shown, "#story svg text")


def test_verdicts_can_be_hidden_and_shown(shown: Browser) -> None:
    count = "document.querySelectorAll('#timeline svg rect').length"
    before = shown.run(count)
    orderly = "document.querySelector('#timeline .legend button[aria-pressed=false]')"
    assert shown.run(f"{orderly}.textContent") == "orderly"
    shown.run(f"{orderly}.click()")
    assert shown.run(count) > before
    assert shown.run("document.querySelector('#timeline .legend button').ariaPressed") == "true"


def test_a_table_sorts(shown: Browser) -> None:
    table = "document.querySelector('#tables section')"
    first = f"{table}.querySelector('tbody td').textContent"
    heading = f"{table}.querySelectorAll('th button')[1]"
    assert shown.run(first) == "10.1.2.3"
    shown.run(f"{heading}.click()")
    assert shown.run(first) == "192.0.2.7"
    assert shown.run(f"{heading}.parentNode.getAttribute('aria-sort')") == "descending"
    shown.run(f"{heading}.click()")
    assert shown.run(f"{heading}.parentNode.getAttribute('aria-sort')") == "ascending"
    assert shown.run(first) in {"10.0.0.1", "10.0.0.9"}


def test_a_table_filters(shown: Browser) -> None:
    search = "document.querySelector('#stories input')"
    shown.run(f"{search}.value = 'abort-unread php'; {search}.dispatchEvent(new Event('input'))")
    rows = texts(shown, "#stories tbody tr")
    assert rows
    assert all("abort-unread" in row for row in rows)
    assert " of " in texts(shown, "#stories output")[0]
    shown.run(f"{search}.value = 'nothing like it'; {search}.dispatchEvent(new Event('input'))")
    assert texts(shown, "#stories tbody tr") == []
    shown.run(f"{search}.value = ''; {search}.dispatchEvent(new Event('input'))")


def test_a_story_is_selected_by_mouse_and_keyboard(shown: Browser) -> None:
    row = "[...document.querySelectorAll('#stories tbody tr')].find((one) => one.textContent.includes('retransmit'))"
    shown.run(f"{row}.click()")
    assert texts(shown, "#story h3") == ["retransmit-exhausted"]
    assert "15 x retransmission" in texts(shown, "#story svg text")
    assert shown.run(f"{row}.getAttribute('aria-selected')") == "true"
    other = row.replace("retransmit", "keepalive")
    event = "new KeyboardEvent('keydown', {key: 'Enter'})"
    shown.run(f"{other}.dispatchEvent({event})")
    assert texts(shown, "#story h3") == ["keepalive-expired"]


def test_a_number_of_the_heat_map_shows_its_connections(shown: Browser) -> None:
    shown.run("document.querySelector('#heat td button').click()")
    rows = texts(shown, "#stories tbody tr")
    assert rows
    assert all("10.1.2.3" in row for row in rows)


def test_a_cause_shows_its_connections(shown: Browser) -> None:
    shown.run("document.querySelectorAll('#causes button')[1].click()")
    assert texts(shown, "#story h3") == ["abort-unread"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in(shown: Browser, scheme: str) -> None:
    """Text and page differ by the 4.5 to 1 of WCAG AA, also where text is softer."""
    shown.media(scheme=scheme)
    script = """(() => {
      const light = (color) => {
        const parts = color.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255)
          .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const back = light(getComputedStyle(document.querySelector('#causes')).backgroundColor);
      return ['#causes li p', '#causes .facts', 'button.link', '.tile.bad b'].map((name) => {
        const fore = light(getComputedStyle(document.querySelector(name)).color);
        return (Math.max(fore, back) + 0.05) / (Math.min(fore, back) + 0.05);
      });
    })()"""
    assert min(shown.run(script)) >= 4.5
    dark = shown.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 29)"
    assert dark == (scheme == "dark")
    assert len(shown.screenshot(1240, 1600)) > 50_000


def test_it_can_be_printed(shown: Browser) -> None:
    shown.media(medium="print")
    hidden = "getComputedStyle(document.querySelector('.tools input')).display"
    assert shown.run(hidden) == "none"
    assert shown.call("Page.printToPDF")["data"]
    shown.media()


def test_nothing_is_wider_than_a_small_screen(shown: Browser) -> None:
    shown.screenshot(400, 800)
    assert shown.run("document.documentElement.scrollWidth") <= 400
    shown.screenshot(1240, 1600)


def test_everything_to_press_has_a_name(shown: Browser) -> None:
    nameless = "[...document.querySelectorAll('button, input')].filter((one) => !(one.textContent || one.ariaLabel)).length"
    assert shown.run(nameless) == 0
    images = "[...document.querySelectorAll('svg')].every((one) => one.getAttribute('aria-label'))"
    assert shown.run(images) is True
