# SPDX-License-Identifier: Apache-2.0
"""The page of ``report --html`` at the widths of a telephone, a tablet and a desk, light and dark.

``layout.js`` measures every text: that it can be read, stands in its frame and overprints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.devtools import Browser, browser, texts
from tests.browser.pages import long_names, many_days, many_incidents, nothing, two_ends
from tracetw.recording.reader import open_recordings
from tracetw.report.build import build
from tracetw.report.model import Report
from tracetw.report.render.html import page

pytestmark = pytest.mark.browser

LAYOUT = (Path(__file__).parent / "layout.js").read_text(encoding="utf-8")
DATA = Path(__file__).parents[1] / "data" / "recordings"


def recorded() -> Report:
    """A recording of a real kernel."""
    return build(open_recordings([str(DATA / "v3")]), utc=True)


REPORTS: dict[str, Callable[[], Report]] = {
    report.__name__: report
    for report in (two_ends, long_names, many_days, many_incidents, nothing, recorded)
}
WIDTHS = (400, 800, 1280)


@pytest.fixture(scope="module")
def window(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(chromium, tmp_path_factory.mktemp("profile")) as one:
        yield one
        assert one.complaints == []


@pytest.fixture(scope="module", params=REPORTS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = tmp_path_factory.mktemp("page") / "report.html"
    result.write_text(page(REPORTS[request.param](), utc=True), encoding="utf-8")
    return result


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_of_it_can_be_read(window: Browser, path: Path, scheme: str) -> None:
    window.media(scheme=scheme)
    window.size(400, 900)
    window.open(path)
    for width in WIDTHS:
        window.size(width, 900)
        assert len(window.screenshot()) > 5_000
        assert window.run(LAYOUT) == [], width
    dark = window.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 29)"
    assert dark == (scheme == "dark")


def test_every_story_can_be_read(window: Browser, path: Path) -> None:
    """One of each verdict in turn, also of those behind "Show more"."""
    window.media()
    window.size(400, 900)
    window.open(path)
    window.run(
        "document.querySelectorAll('button.link').forEach((one) => one.hidden || one.click())"
    )
    verdicts = texts(window, "#stories tr.pick .badge")
    for verdict in dict.fromkeys(verdicts):
        row = f"document.querySelectorAll('#stories tr.pick')[{verdicts.index(verdict)}]"
        window.run(f"{row}.getAttribute('aria-expanded') === 'true' || {row}.click()")
        window.screenshot()
        assert texts(window, "#stories .story h3 .badge") == [verdict]
        assert window.run(LAYOUT) == [], verdict


def test_the_measure_finds_what_is_wrong(window: Browser, tmp_path: Path) -> None:
    """Each fault that the page once had, put back into it."""
    whole = tmp_path / "page.html"
    whole.write_text(page(two_ends(), utc=True), encoding="utf-8")
    window.media()
    window.size(400, 900)
    faults = {
        "smaller than 11 px": ".ladder .state { font-size: 10px !important; }",
        "too little contrast": ".soft, .hint { color: #bbb !important; }",
        "overprints": ".ladder .there div { height: 4px; }",
        "the page is": "#span { width: 500px; }",
        "out of its frame": ".ladder .there .state { position: relative; left: 90px; }",
        "scrolls sideways": ".stacked { width: 500px !important; }",
    }
    for says, style in faults.items():
        window.open(whole)
        window.screenshot()
        assert window.run(LAYOUT) == []
        window.run(
            f"document.head.append(Object.assign(document.createElement('style'), {{textContent: {style!r}}}))"
        )
        window.screenshot()
        assert any(one.startswith(says) for one in window.run(LAYOUT)), says
