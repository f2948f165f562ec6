# SPDX-License-Identifier: Apache-2.0
"""A line of a recorded scenario as a page shows it: JSON broken over lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tracetw.lab.play.outcome import ENDS, Outcome
from tracetw.lab.play.tracer import Line

__all__ = ["json_of", "line_of", "telling"]

# Whose connection it was, and when.
IDENTITY = frozenset(
    {
        *("v", "time", "host", "netns", "family", "local", "remote", "pid", "comm", "uid"),
        *("cgroup", "container", "owner_from"),
    }
)
WIDTH = 96


def line_of(outcome: Outcome, verdict: str) -> tuple[str, Line]:
    """The end with a verdict, and its line; KeyError if none has it."""
    for letter in ENDS:
        for line in outcome.lines[letter]:
            if line["verdict"] == verdict:
                return letter, line
    raise KeyError(verdict)


def telling(line: Line) -> dict[str, Any]:
    """A line without what is null or zero, and without what only says whose connection it was."""
    return {name: value for name, value in line.items() if name not in IDENTITY and _says(value)}


def _says(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_says(part) for name, part in value.items() if name != "last_rto_ms")
    return value not in (None, 0)


def json_of(document: Mapping[str, Any]) -> Iterator[str]:
    """JSON as it stands in a line of output, broken where there is a blank."""
    yield "{"
    parts = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in document.items()]
    filled = ""
    for at, part in enumerate(parts):
        text = part + ("," if at < len(parts) - 1 else "")
        if filled and len(filled) + 1 + len(text) > WIDTH:
            yield f"  {filled}"
            filled = ""
        value = list(document.values())[at]
        if len(text) > WIDTH and isinstance(value, Mapping):
            opening, *lines, closing = json_of(value)
            yield f"  {json.dumps(list(document)[at])}: {opening}"
            yield from (f"  {line}" for line in lines)
            yield f"  {closing}" + ("," if text.endswith(",") else "")
        elif len(text) > WIDTH and '": [{' in text:
            yield from _entries(document, at, text.endswith(","))
        else:
            filled = f"{filled} {text}".lstrip()
    if filled:
        yield f"  {filled}"
    yield "}"


def _entries(document: Mapping[str, Any], at: int, more: bool) -> Iterator[str]:  # noqa: FBT001
    """A long array of objects, filled up line by line."""
    name = list(document)[at]
    yield f"  {json.dumps(name)}: ["
    filled = ""
    values = document[name]
    for number, value in enumerate(values):
        text = json.dumps(value) + ("," if number < len(values) - 1 else "")
        if filled and len(filled) + 1 + len(text) > WIDTH - 2:
            yield f"    {filled}"
            filled = ""
        filled = f"{filled} {text}".lstrip()
    yield f"    {filled}"
    yield "  ]" + ("," if more else "")
