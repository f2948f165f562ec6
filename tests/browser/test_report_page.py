# SPDX-License-Identifier: Apache-2.0
"""The page of ``report --html`` in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.devtools import Browser, browser, texts
from tests.browser.pages import two_ends
from tracetw.report.render.html import page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shown(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "incident.html"
    path.write_text(page(two_ends("</script><b>client"), utc=True), encoding="utf-8")
    with browser(chromium, folder / "profile") as one:
        one.open(path)
        yield one
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith(("file:", "data:"))] == []


def test_it_tells_incidents_and_causes(shown: Browser) -> None:
    sentences = texts(shown, "#each .incident p.any")
    assert sentences[0].startswith("From 12:16:40 to 12:33:04 (16m24s): 10.1.2.3:5432 stopped")
    assert texts(shown, "#causes li p:first-child")[0].startswith(
        "192.0.2.7 reset connections all along"
    )
    assert "</script><b>client" in " ".join(texts(shown, "#both li"))
    assert shown.run("document.querySelectorAll('b b, header b').length") == 0


def test_it_draws(shown: Browser) -> None:
    assert shown.run("document.querySelectorAll('#timeline svg rect').length") > 10
    assert shown.run("document.querySelectorAll('#heat td button').length") > 5
    assert "RST ACK: from between" in texts(shown, "#incident-2 .ladder .label")
    assert shown.run("document.querySelectorAll('#lengths svg .bar').length") > 3
    assert texts(shown, "#lengths svg text.timeout") == ["60 s", "240 s", "350 s", "900 s"]


def test_both_ends_have_their_states_and_times(shown: Browser) -> None:
    head = texts(shown, "#incident-2 .ladder .ends:first-child div")
    assert head == [
        "web-1 nginx (pid 812) 10.0.0.1:443",
        "</script><b>client nginx (pid 812) 10.0.0.9:50000",
    ]
    for side in ("here", "there"):
        assert texts(shown, f"#incident-2 .ladder .{side} .state") == [
            "SYN_SENT",
            "ESTABLISHED",
            "CLOSE",
        ]
        assert texts(shown, f"#incident-2 .ladder .{side} .at") == ["0.0 ms", "1.0 ms", "40.0 ms"]
    assert texts(shown, "#incident-2 .ladder .ends:last-child .badge") == [
        "peer-reset",
        "peer-reset",
    ]


def test_time_by_peer_and_by_service(shown: Browser) -> None:
    """Every number of the map adds up to what ended abnormally, a connection with two ends once."""
    assert texts(shown, "#times th[scope=row]") == [
        "10.1.2.3", "192.0.2.7", "192.0.2.8", "10.0.0.9",
    ]  # fmt: skip
    cells = "#times tbody td:not(.sum)"
    assert sum(int(text) for text in texts(shown, cells) if text != "\u00b7") == 702
    assert sum(map(int, texts(shown, "#times .sum"))) == 702
    shown.run("document.querySelectorAll('#times .tabs button')[1].click()")
    assert texts(shown, "#times th[scope=row]") == ["10.1.2.3:5432", "port 443 of web-1"]
    shown.run("document.querySelectorAll('#times .tabs button')[0].click()")


def test_what_is_cut_off_is_counted(shown: Browser) -> None:
    assert texts(shown, "#stories > .hint") == [
        "24 of 18,714 connections: a few of every sort. Choose one to see its segments."
    ]
    rows = len(texts(shown, "#stories tr.pick"))
    assert texts(shown, "#stories button.link") == [f"Show {24 - rows} more"]
    shown.run("document.querySelector('#stories button.link').click()")
    assert len(texts(shown, "#stories tr.pick")) == 24


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
    rows = texts(shown, "#stories tr.pick")
    assert rows
    assert all("abort-unread" in row for row in rows)
    assert " of " in texts(shown, "#stories output")[0]
    shown.run(f"{search}.value = 'nothing like it'; {search}.dispatchEvent(new Event('input'))")
    assert texts(shown, "#stories tr.pick") == []
    shown.run(f"{search}.value = ''; {search}.dispatchEvent(new Event('input'))")


def test_a_story_is_opened_by_mouse_and_keyboard(shown: Browser) -> None:
    row = "[...document.querySelectorAll('#stories tr.pick')].find((one) => one.textContent.includes('retransmit'))"
    shown.run(f"{row}.click()")
    assert texts(shown, "#stories .story h3") == ["retransmit-exhausted"]
    assert "15 x retransmission" in texts(shown, "#stories .ladder .label")
    assert shown.run(f"{row}.getAttribute('aria-expanded')") == "true"
    other = row.replace("retransmit", "keepalive")
    event = "new KeyboardEvent('keydown', {key: 'Enter'})"
    shown.run(f"{other}.dispatchEvent({event})")
    assert texts(shown, "#stories .story h3") == ["keepalive-expired"]
    shown.run(f"{other}.dispatchEvent({event})")
    assert texts(shown, "#stories .story h3") == []


def test_a_number_of_the_heat_map_shows_its_connections(shown: Browser) -> None:
    shown.run("document.querySelector('#heat td button').click()")
    rows = texts(shown, "#stories tr.pick")
    assert rows
    assert all("10.1.2.3" in row for row in rows)


def test_a_cause_shows_its_connections(shown: Browser) -> None:
    shown.run("document.querySelector('#causes button').click()")
    assert texts(shown, "#stories .story h3") == ["peer-reset"]


def test_it_can_be_printed(shown: Browser) -> None:
    shown.media(medium="print")
    hidden = "getComputedStyle(document.querySelector('.tools input')).display"
    assert shown.run(hidden) == "none"
    assert shown.call("Page.printToPDF")["data"]
    shown.media()


def test_everything_to_press_has_a_name(shown: Browser) -> None:
    nameless = "[...document.querySelectorAll('button, input, select')].filter((one) => !(one.textContent || one.ariaLabel)).length"
    assert shown.run(nameless) == 0
    images = "[...document.querySelectorAll('svg')].every((one) => one.getAttribute('aria-label'))"
    assert shown.run(images) is True
