# SPDX-License-Identifier: Apache-2.0
"""A guide of the handbook as lines of text, in the order of its page in docs/verdicts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tracetw.text import hanging
from tracetw.verdict.handbook.entry import Folklore, Question
from tracetw.verdict.handbook.guide import HEADINGS, Guide, Lacked
from tracetw.verdict.hints import Hint

_WIDTH = 80
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_PLACE = re.compile(r"\{\w+\}")
_COMMAND = re.compile(r"`([^`]* [^`]*)`")


def guide_text(guide: Guide) -> str:
    """The guide in lines of at most 80 columns, without a final newline."""
    return "\n".join(_guide(guide))


def hint_page(hint: Hint) -> str:
    """What a hint means, what ``why`` says of it, and what to do; lines as of a guide."""
    said = [_PLACE.sub("N", phrase) for phrase in hint.phrases.values()]
    return "\n".join(
        (
            f"{hint.code} (hint)",
            *_titled("When it appears", [_text("  ", hint.holds)]),
            *_titled("What why says (N: a number)", map(_item, said)),
            *_titled("What to do", [_text("  ", hint.advice)]),
        )
    )


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
        from tracetw.verdict.evidence import EVIDENCE  # noqa: PLC0415 (facts load NumPy, --help does not)

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
    return hanging(lead, _plain(text), _WIDTH)


def _plain(text: str) -> str:
    """Without what the handbook marks for the page: links, and code but for quotes around commands."""
    return _LINK.sub(r"\1", _COMMAND.sub(r"'\1'", text).replace("`", ""))
