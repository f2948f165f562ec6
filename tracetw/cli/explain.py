# SPDX-License-Identifier: Apache-2.0
"""``tracetw explain``: what a verdict means, what to do, how to tell its causes apart, what proves it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from textwrap import fill

import click

from tracetw.cli import complete
from tracetw.cli.pager import pager_option, show
from tracetw.errors import BadInput
from tracetw.verdict.evidence import EVIDENCE
from tracetw.verdict.handbook import EVENTS, GUIDES, HEADINGS, Folklore, Guide, Lacked, Question
from tracetw.verdict.taxonomy import VERDICTS

__all__ = ["command"]

_WIDTH = 80
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_COMMAND = re.compile(r"`([^`]* [^`]*)`")


@click.command("explain", short_help="Say what a verdict means and what to do about it.")
@click.argument("verdict", required=False, shell_complete=complete.codes)
@pager_option
def command(verdict: str | None, pager: bool) -> None:
    """Say what VERDICT means, what to do now, and how to tell its causes apart.

    VERDICT may be a timewait or drop event, too. Without it, list them all. docs/verdicts/ has the same
    pages with packets and JSON.
    """
    show(f"{_explained(verdict)}\n", pager=pager)


def _explained(verdict: str | None) -> str:
    """Without a final newline. Raises BadInput."""
    if verdict is None:
        rows = [_line(row.code, row.meaning) for row in VERDICTS]
        events = [_line(event.name, event.meaning) for event in EVENTS]
        return "\n".join([*rows, "", "events", *events])
    if verdict in GUIDES:
        return "\n".join(_guide(GUIDES[verdict]))
    near = get_close_matches(verdict, GUIDES, 1)
    hint = f"did you mean {near[0]}?" if near else "tracetw explain lists them"
    raise BadInput(f"no such verdict: {verdict!r}", hint)


def _line(name: str, meaning: str) -> str:
    return fill(meaning, _WIDTH, initial_indent=f"{name:22}", subsequent_indent=" " * 22)


def _guide(guide: Guide) -> Iterator[str]:
    """In the order of the page in docs/verdicts."""
    means, now, causes, settings = HEADINGS
    yield f"{guide.name} ({guide.kind})"
    seen_by = f" Seen by: {guide.seen_by}." if guide.seen_by else ""
    yield from _titled(means, [_text("  ", guide.means + seen_by)])
    yield from _titled(now, map(_item, guide.now))
    yield from _titled(causes, _questions(guide.causes))
    yield from _titled(settings, map(_item, guide.settings))
    if guide.lacked:
        yield from _titled("What was missing, as why says", map(_lacked, guide.lacked))
    yield from _titled("Mechanism and proof", _proof(guide))
    yield from _folklore(guide.folklore)


def _titled(title: str, lines: Iterator[str] | Sequence[str] | map[str]) -> Iterator[str]:
    yield f"\n{title}"
    yield from lines


def _questions(causes: Sequence[Question]) -> Iterator[str]:
    for number, cause in enumerate(causes, 1):
        yield _text(f"  {number}. ", cause.ask)
        yield _text("     yes: ", cause.yes)
        yield _text("     no:  ", cause.no or f"Ask question {number + 1}.")


def _lacked(fact: Lacked) -> str:
    return "\n".join((_text("  - ", f"{fact.name}: {fact.what}"), _text("    ", fact.remedy)))


def _proof(guide: Guide) -> Iterator[str]:
    ways = [" + ".join(group) for group in guide.ways]
    yield _entry("mechanism", guide.mechanism, 12)
    for at, way in enumerate(ways):
        yield _entry("or by" if at else "proven by", way, 12)
    yield _entry("how sure", guide.sure, 12)
    yield _entry("see it", f"sudo scripts/tracetw lab run {guide.shown_by}", 12)
    used = dict.fromkeys(name for group in guide.ways for name in group)
    if used:
        yield from _titled("Evidence", [_entry(name, EVIDENCE[name], 22) for name in used])


def _folklore(tales: Sequence[Folklore]) -> Iterator[str]:
    if tales:
        yield from _titled("Folklore", [_item(f'"{tale.believed}" {tale.fact}') for tale in tales])


def _item(text: str) -> str:
    return _text("  - ", text)


def _entry(name: str, text: str, width: int) -> str:
    return _text(f"  {name:{width}}", text)


def _text(lead: str, text: str) -> str:
    """A paragraph that begins with ``lead`` and hangs below its end."""
    return fill(
        _plain(text),
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _plain(text: str) -> str:
    """Without what the handbook marks for the page: links, and code but for quotes around commands."""
    return _LINK.sub(r"\1", _COMMAND.sub(r"'\1'", text).replace("`", ""))
