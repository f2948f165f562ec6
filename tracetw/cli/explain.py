# SPDX-License-Identifier: Apache-2.0
"""``tracetw explain``: what a verdict means, what proves it, what causes it and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from textwrap import fill

import click

from tracetw.cli import complete
from tracetw.cli.pager import pager_option, show
from tracetw.errors import BadInput
from tracetw.verdict.evidence import EVIDENCE
from tracetw.verdict.handbook import (
    DROP_EVENTS,
    HANDBOOK,
    TIMEWAIT_EVENTS,
    Event,
    Folklore,
)
from tracetw.verdict.taxonomy import VERDICT_INDEX, VERDICTS, Verdict

__all__ = ["command"]

_WIDTH = 80
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


_EVENTS = {event.name: event for event in (*TIMEWAIT_EVENTS, *DROP_EVENTS)}


@click.command("explain", short_help="Say what a verdict means and what to do about it.")
@click.argument("verdict", required=False, shell_complete=complete.codes)
@pager_option
def command(verdict: str | None, pager: bool) -> None:
    """Say what VERDICT means, what proves it, what causes it and what to do.

    VERDICT may be a timewait or drop event, too. Without it, list them all. With ladders of packets
    and JSON: docs/verdicts.md.
    """
    show(f"{_explained(verdict)}\n", pager=pager)


def _explained(verdict: str | None) -> str:
    """Without a final newline. Raises BadInput."""
    if verdict is None:
        rows = [_line(row.code, row.meaning) for row in VERDICTS]
        events = [_line(event.name, event.meaning) for event in _EVENTS.values()]
        return "\n".join([*rows, "", "events", *events])
    if verdict in VERDICT_INDEX:
        return _verdict(VERDICTS[VERDICT_INDEX[verdict]])
    if verdict in _EVENTS:
        return _event(_EVENTS[verdict])
    near = get_close_matches(verdict, [*VERDICT_INDEX, *_EVENTS], 1)
    hint = f"did you mean {near[0]}?" if near else "tracetw explain lists them"
    raise BadInput(f"no such verdict: {verdict!r}", hint)


def _line(name: str, meaning: str) -> str:
    return fill(meaning, _WIDTH, initial_indent=f"{name:22}", subsequent_indent=" " * 22)


def _verdict(verdict: Verdict) -> str:
    entry = HANDBOOK[verdict.code]
    kind = "look into it if frequent" if verdict.abnormal else "normal"
    ways = [" + ".join(group) for group in verdict.requires if group]
    rows = [
        ("means", verdict.meaning),
        ("seen by", verdict.seen_by),
        ("mechanism", verdict.mechanism),
        *(("proven by" if at == 0 else "or by", way) for at, way in enumerate(ways)),
        ("what to do", verdict.advice),
        ("how sure", entry.sure),
        ("see it", _command(entry.shown_by)),
    ]
    lines = [f"{verdict.code} ({kind})", *(_entry(name, text, 12) for name, text in rows)]
    for title, texts in (("in production", entry.production), ("what to change", entry.change)):
        lines += ["", title, *map(_item, texts)]
    lines += _folklore(entry.folklore)
    used = dict.fromkeys(name for group in verdict.requires for name in group)
    if used:
        lines += ["", "evidence", *(_entry(name, EVIDENCE[name], 22) for name in used)]
    return "\n".join(lines)


def _event(event: Event) -> str:
    rows = [
        ("means", event.meaning),
        ("mechanism", event.mechanism),
        ("production", event.production),
        ("see it", _command(event.shown_by)),
    ]
    lines = [f"{event.name} (event)", *(_entry(name, text, 12) for name, text in rows)]
    return "\n".join([*lines, *_folklore(event.folklore)])


def _folklore(tales: Sequence[Folklore]) -> list[str]:
    texts = [_item(f'"{tale.believed}" {tale.fact}') for tale in tales]
    return ["", "folklore", *texts] if texts else []


def _command(scenario: str) -> str:
    return f"sudo scripts/tracetw lab run {scenario}"


def _item(text: str) -> str:
    return fill(
        _plain(text),
        _WIDTH,
        initial_indent="  - ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _entry(name: str, text: str, width: int) -> str:
    return fill(
        _plain(text),
        _WIDTH,
        initial_indent=f"  {name:{width}}",
        subsequent_indent=" " * (width + 2),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _plain(text: str) -> str:
    """Without what the handbook marks for the page: code and links."""
    return _LINK.sub(r"\1", text.replace("`", ""))
