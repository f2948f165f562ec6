# SPDX-License-Identifier: Apache-2.0
"""A report as one page that needs nothing else: its data, style and script are in it."""

from __future__ import annotations

import re
import time
from importlib.resources import files
from typing import Any

from tracetw.report.model import Report
from tracetw.report.render.json import document
from tracetw.report.render.phrases import Words, joined
from tracetw.text import html_json, html_text, visible
from tracetw.verdict.hints import HINTS

_FOLDER = "page"
_SECOND = 1_000_000_000
_SCRIPTS = (
    "make.js",
    "chart.js",
    "heat.js",
    "ladder.js",
    "tables.js",
    "story.js",
    "incidents.js",
    "report.js",
)


def page(report: Report, *, utc: bool) -> str:
    """The whole page, UTF-8.

    Args:
        report: what it shows.
        utc: its times in UTC, else in the time zone of this process.
    """
    words = Words.spanning(report.begin_ns, report.end_ns, utc=utc)
    names = [*dict.fromkeys(host.name for host in report.hosts)]
    offset = 0 if words.utc else time.localtime(report.begin_ns // _SECOND).tm_gmtoff // 60
    zone = words.zone(report.begin_ns)
    hints = {hint.code: hint.advice for hint in HINTS}
    shown = {"offset_min": offset, "zone": zone, "dated": words.dated, "hints": hints}
    data = _seen({**document(report), "shown": shown})
    parts = {
        "title": html_text(f"{joined(names)}, {words.day(report.begin_ns)}"),
        "hosts": html_text(joined(names)),
        "day": words.day(report.begin_ns),
        "style": _file("report.css"),
        "data": html_json(data),
        "script": "".join(_file(name) for name in _SCRIPTS),
    }
    return re.sub(r"@@(\w+)@@", lambda place: parts[place[1]], _file("report.html"))


def _seen(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """The same with texts as people should see them: a name cannot reorder the words beside it."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(str(key)): _seen(part) for key, part in value.items()}
    return [_seen(part) for part in value] if isinstance(value, (list, tuple)) else value


def _file(name: str) -> str:
    return files("tracetw.report.render").joinpath(_FOLDER, name).read_text(encoding="utf-8")
