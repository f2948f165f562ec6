# SPDX-License-Identifier: Apache-2.0
"""One connection of each incident and cause in words: why it ended with its hints, how quiet it was, what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from tracetw.report.model import Story
from tracetw.report.render.phrases import Words
from tracetw.sink.human import endpoint, span
from tracetw.verdict.hints import HINTS

_MOST = 6
_MS = 1_000_000
_SECOND = 1_000_000_000
_ADVICE = {hint.code: hint.advice for hint in HINTS}
_COUNTS = {
    "bytes_sent": "sent",
    "bytes_acked": "acknowledged",
    "bytes_unsent": "never sent",
    "bytes_received": "received",
    "bytes_unread": "unread",
}
_MICROSECONDS = 26  # of 2026-01-02T12:00:00.123456789Z


def examples(stories: Sequence[Story], words: Words) -> Iterator[tuple[str, str, str]]:
    """Paragraphs to be wrapped: text, what its first line begins with, and what the others begin with.

    The first story of each incident and cause, at most ``_MOST``; none at all without stories.
    """
    firsts: dict[tuple[int | None, int | None], Story] = {}
    for story in stories:
        if story.close["verdict"] != "orderly" or story.close["hints"]:
            firsts.setdefault((story.incident, story.cause), story)
    told: set[str] = set()
    for story in [*firsts.values()][:_MOST]:
        close = story.close
        yield f"{_who(close, words)}: {close['verdict']}", "   - ", "     "
        yield close["why"], "     ", "     "
        if text := measured(close):
            yield text, "     ", "     "
        for code in close["hints"]:
            if code not in told:
                told.add(code)
                yield f"{code}: {_ADVICE[code]}", "     -> ", "        "


def _who(close: Mapping[str, Any], words: Words) -> str:
    local, remote = (
        endpoint(end["addr"], end["port"]) if end["addr"] is not None else "?"
        for end in (close["local"], close["remote"])
    )
    process = f" ({close['comm']}/{close['pid']})" if close["comm"] is not None else ""
    when = ""
    if close["time"] is not None:
        moment = datetime.fromisoformat(f"{close['time'][:_MICROSECONDS].rstrip('Z')}+00:00")
        when = f"{words.time(int(moment.timestamp()) * _SECOND)} "
    return f"{when}{local} to {remote}{process}"


def measured(close: Mapping[str, Any]) -> str:
    """The times measured of a connection, in one sentence, without those unknown."""
    parts = [
        _quiet(close, "idle_ms", "nothing came from the peer"),
        _quiet(close, "since_received_ms", "no data came"),
        _quiet(close, "since_sent_ms", "no data was sent"),
    ]
    quiet = ", ".join(filter(None, parts))
    counts = [
        f"{close[name]:,} {text}" for name, text in _COUNTS.items() if close[name] is not None
    ]
    if not any(close[name] for name in _COUNTS):
        counts = []  # nothing ever flowed
    sentences = [
        f"Before it {quiet}" if quiet else "",
        f"Bytes: {', '.join(counts)}" if counts else "",
    ]
    if close["min_rtt_ms"] is not None:
        sentences.append(f"Least round trip: {close['min_rtt_ms']:g} ms")
    return "".join(f"{text}. " for text in sentences if text).rstrip()


def _quiet(close: Mapping[str, Any], name: str, text: str) -> str:
    return "" if close[name] is None else f"{text} for {span(close[name] * _MS)}"
