# SPDX-License-Identifier: Apache-2.0
"""``tracetw explain``: what a verdict means, what proves it and what to do about it."""

from __future__ import annotations

from difflib import get_close_matches
from textwrap import fill

import click

from tracetw.errors import BadInput
from tracetw.verdict.evidence import EVIDENCE
from tracetw.verdict.taxonomy import VERDICT_INDEX, VERDICTS, Verdict

__all__ = ["command"]

_WIDTH = 80


@click.command("explain")
@click.argument("verdict", required=False)
def command(verdict: str | None) -> None:
    """Say what VERDICT means, what proves it and what to do; without VERDICT, list them all."""
    if verdict is None:
        print("\n".join(_line(row) for row in VERDICTS))
        return
    if verdict not in VERDICT_INDEX:
        near = get_close_matches(verdict, VERDICT_INDEX, 1)
        hint = f"did you mean {near[0]}?" if near else "tracetw explain lists them"
        raise BadInput(f"no such verdict: {verdict}", hint)
    print(_page(VERDICTS[VERDICT_INDEX[verdict]]))


def _line(verdict: Verdict) -> str:
    return fill(
        verdict.meaning, _WIDTH, initial_indent=f"{verdict.code:22}", subsequent_indent=" " * 22
    )


def _page(verdict: Verdict) -> str:
    kind = "look into it if frequent" if verdict.abnormal else "normal"
    ways = [" + ".join(group) for group in verdict.requires if group]
    rows = [
        ("means", verdict.meaning),
        ("seen by", verdict.seen_by),
        ("mechanism", verdict.mechanism),
        *(("proven by" if at == 0 else "or by", way) for at, way in enumerate(ways)),
        ("what to do", verdict.advice),
    ]
    lines = [f"{verdict.code} ({kind})", *(_entry(name, text, 12) for name, text in rows)]
    used = dict.fromkeys(name for group in verdict.requires for name in group)
    if used:
        lines += ["", "evidence", *(_entry(name, EVIDENCE[name], 22) for name in used)]
    return "\n".join(lines)


def _entry(name: str, text: str, width: int) -> str:
    return fill(
        text,
        _WIDTH,
        initial_indent=f"  {name:{width}}",
        subsequent_indent=" " * (width + 2),
        break_on_hyphens=False,
        break_long_words=False,
    )
