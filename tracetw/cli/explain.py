# SPDX-License-Identifier: Apache-2.0
"""``tracetw explain``: what a verdict means, what to do, how to tell its causes apart, what proves it."""

from __future__ import annotations

from difflib import get_close_matches
from textwrap import fill

import click

from tracetw.cli import complete
from tracetw.cli.pager import pager_option, show
from tracetw.errors import BadInput
from tracetw.verdict.handbook import EVENTS, GUIDES
from tracetw.verdict.handbook.lines import guide_text, hint_page
from tracetw.verdict.hints import HINT_BIT, HINTS
from tracetw.verdict.taxonomy import VERDICT_INDEX, VERDICTS

_WIDTH = 80
_NAME = max(len(code) for code in (*VERDICT_INDEX, *HINT_BIT))


@click.command("explain", short_help="Say what a verdict means and what to do about it.")
@click.argument("verdict", required=False, shell_complete=complete.codes)
@pager_option
def command(verdict: str | None, pager: bool) -> None:
    """Say what VERDICT means, what to do now, and how to tell its causes apart.

    VERDICT may be a timewait or drop event or a hint, too. Without it, list them all. docs/verdicts/ has the
    same pages with packets and JSON.
    """
    show(f"{_explained(verdict)}\n", pager=pager)


def _explained(verdict: str | None) -> str:
    """Without a final newline. Raises BadInput."""
    if verdict is None:
        rows = [_line(row.code, row.meaning) for row in VERDICTS]
        events = [_line(event.name, event.meaning) for event in EVENTS]
        hints = [_line(hint.code, hint.holds) for hint in HINTS]
        return "\n".join([*rows, "", "events", *events, "", "hints", *hints])
    if verdict in GUIDES:
        return guide_text(GUIDES[verdict])
    for known in HINTS:
        if known.code == verdict:
            return hint_page(known)
    near = get_close_matches(verdict, [*GUIDES, *HINT_BIT], 1)
    hint = f"did you mean {near[0]}?" if near else "tracetw explain lists them"
    raise BadInput(f"no such verdict: {verdict!r}", hint)


def _line(name: str, meaning: str) -> str:
    return fill(
        meaning, _WIDTH, initial_indent=f"{name:{_NAME}} ", subsequent_indent=" " * (_NAME + 1)
    )
