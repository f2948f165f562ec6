# SPDX-License-Identifier: Apache-2.0
"""The pages of docs/verdicts beside those of verdicts and events: index, symptoms, settings, evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scripts.pages.mark import link, marked
from scripts.pages.page import GENERATED, folklore, page
from tracetw.verdict.evidence import EVIDENCE
from tracetw.verdict.handbook import EVENTS, GUIDES, SETTINGS, SYMPTOMS, Choice
from tracetw.verdict.missing import MISSING
from tracetw.verdict.taxonomy import VERDICTS, Verdict

__all__ = ["files"]

INDEX = """\
# Verdicts

Every connection end gets one verdict: in the table, in JSON, in `--verdict`. Each has a page here, in the
order in which an engineer on call needs it: what it means, what to do now, questions that tell the likely
causes apart, settings; then, folded, packets, JSON, mechanism and proof. `tracetw explain VERDICT` prints the
same in a terminal.

- You have a line of `tracetw trace`: open the page of its verdict, [below](#all-verdicts).
- You have only a symptom: [symptoms](symptoms.md) leads to a verdict. Then let `tracetw trace --abnormal
  -o wide` confirm it.
- You look at `TIME_WAIT` or at segments that were refused: [events](#events).
- You are about to change a setting: [settings and counters](settings.md), and what people get wrong.
- You want to know what a verdict rests on: [evidence](evidence.md).

Both ends of a connection have a verdict of their own. Where a page says that the reason is at the peer, trace
there.

## All verdicts

*Look* marks what `--abnormal` selects: ends to look into if they are frequent.

| verdict | what happened | seen by | |
|---|---|---|---|"""
EVENTS_HEAD = """
## Events

The verdict is about the connection. Its `FIN_WAIT2` may end, and its `TIME_WAIT` goes on, after the socket is
gone: as a timewait socket, without a process. `tracetw trace --events timewait,drop` shows what happens to it,
and the segments that the kernel refuses.

| event | what happened |
|---|---|"""
SYMPTOMS_HEAD = """\
# Symptoms

Find what you see on the left. Ask its questions from top to bottom: the first *yes* gives the verdict. *Else*
is what remains. A verdict's page says how to be sure."""
SETTINGS_HEAD = """\
# Settings and counters

What people get wrong about them. Each verdict's page has the settings that belong to it.
"""
EVIDENCE_HEAD = """\
# Evidence

A verdict is issued only if one of its groups of evidence is complete; its page names them. Otherwise the end is
[`undetermined`](undetermined.md), and `why` says which fact is missing. `confidence` is `proven`, `inferred`
(the best conclusion, not the only one possible) or `weakened` (records were lost around it).

| name in `evidence` | fact about this end |
|---|---|"""
MISSING_HEAD = """
## Missing facts

What to do about each: [undetermined](undetermined.md#what-was-missing).

| name | what would have had to be known |
|---|---|"""
READING = """
## Packets and JSON

The [lab](../labs.md) recorded the ladders and the JSON of the pages, one scenario each. A connects, B listens;
the states of each stand at its side, `*` is what the lab did. Limits are short there (the page names what was
set), so that seconds stand for minutes. `tracetw lab run` plays the scenario as root, in network namespaces of
its own, and compares it with what it should be.

The JSON is the line of the end with the verdict, broken over lines, without the fields that only say whose
connection it was and when, and without those that are null or zero: [all fields](../json.md#close)."""


def files() -> Mapping[str, str]:
    """Name of each file in docs/verdicts to its text."""
    pages: dict[str, Iterator[str]] = {
        "README": _index(),
        "symptoms": _symptoms(),
        "settings": _settings(),
        "evidence": _evidence(),
        **{name: page(guide) for name, guide in GUIDES.items()},
    }
    return {f"{name}.md": "\n".join(lines) + "\n" for name, lines in pages.items()}


def _index() -> Iterator[str]:
    yield f"{GENERATED}\n{INDEX}"
    yield from map(_overview, VERDICTS)
    yield EVENTS_HEAD
    yield from (f"| {link(event.name)} | {marked(event.meaning)} |" for event in EVENTS)


def _overview(verdict: Verdict) -> str:
    look = "look" if verdict.abnormal else ""
    return (
        f"| {link(verdict.code)} | {marked(verdict.meaning)} | {marked(verdict.seen_by)} | {look} |"
    )


def _symptoms() -> Iterator[str]:
    yield f"{GENERATED}\n{SYMPTOMS_HEAD}"
    for title, rows in SYMPTOMS.items():
        yield f"\n## {title}\n\n| you see | question | verdict |\n|---|---|---|"
        for row in rows:
            for at, choice in enumerate(row.choices):
                seen = "" if at else marked(row.seen)
                yield f"| {seen} | {marked(choice.ask)} | {_then(choice)} |"


def _then(choice: Choice) -> str:
    see = f": go on at *{marked(choice.see)}*" if choice.see else ""
    return marked(_linked(choice.then)) + see


def _linked(text: str) -> str:
    """A verdict of one word is a word as any other but at the beginning of an answer."""
    first, semicolon, rest = text.partition(";")
    return f"{link(first)}{semicolon}{rest}" if first in GUIDES else text


def _settings() -> Iterator[str]:
    yield f"{GENERATED}\n{SETTINGS_HEAD}"
    yield from folklore(SETTINGS)


def _evidence() -> Iterator[str]:
    yield f"{GENERATED}\n{EVIDENCE_HEAD}"
    yield from (f"| `{name}` | {text} |" for name, text in EVIDENCE.items())
    yield MISSING_HEAD
    yield from (f"| `{name}` | {text} |" for name, text in MISSING.items())
    yield READING
