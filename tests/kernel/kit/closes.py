# SPDX-License-Identifier: Apache-2.0
"""Reads back what ``tracetw trace -o json`` wrote: every connection end once, and the summary."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

# Local address and port, remote address and port.
End: TypeAlias = tuple[str, int, str, int]


@dataclass(slots=True)
class Closes:
    """The ``close`` objects of one network namespace, and what is wrong with the file, if anything."""

    ends: Counter[End] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    repeated: list[tuple[End, str]] = field(default_factory=list)
    summary: dict[str, Any] | None = None
    losses: int = 0

    def unpaired(self) -> list[End]:
        """Ends whose other end was not reported as often; both lie in the same namespace."""
        return [end for end, n in self.ends.items() if self.ends[end[2:] + end[:2]] != n]

    def total(self) -> int:
        """Connection ends reported."""
        return sum(self.ends.values())


def read_closes(path: Path, netns: int) -> Closes:
    """Read the whole output.

    An end is identified by its addresses, ports and time. Raises ValueError for a line that is not
    JSON and for one that comes after the summary.
    """
    found = Closes()
    seen: set[tuple[End, str]] = set()
    with path.open("rb") as lines:
        for line in lines:
            if found.summary is not None:
                raise ValueError(f"{path}: a line after the summary: {line[:100]!r}")
            item = json.loads(line)
            if item["kind"] == "close" and item["netns"] == netns:
                _add(found, seen, item)
            elif item["kind"] == "loss":
                found.losses += 1
            elif item["kind"] == "summary":
                found.summary = item
    return found


def _add(found: Closes, seen: set[tuple[End, str]], item: dict[str, Any]) -> None:
    local, remote = item["local"], item["remote"]
    end = (local["addr"], local["port"], remote["addr"], remote["port"])
    key = (end, item["time"])
    if key in seen:
        found.repeated.append(key)
    seen.add(key)
    found.ends[end] += 1
    found.verdicts[item["verdict"]] += 1
