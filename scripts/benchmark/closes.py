# SPDX-License-Identifier: Apache-2.0
"""Of what ``tracetw trace -o json`` wrote: how many ends, and the summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["count_closes", "read_summary"]

TAIL = 1 << 20  # a summary is shorter than this


def count_closes(path: Path, netns: int) -> int:
    """How many ``close`` objects of the namespace the file has; fast, for a timed run."""
    wanted = str(netns).encode()
    count = 0
    with path.open("rb") as lines:
        for line in lines:
            compact = line[:400].replace(b" ", b"")
            count += b'"kind":"close"' in compact and b'"netns":' + wanted in compact
    return count


def read_summary(path: Path) -> dict[str, Any] | None:
    """The summary, which is the last line; None when the file does not end with one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL))
        lines = file.read().splitlines()
    if not lines:
        return None
    item: dict[str, Any] = json.loads(lines[-1])
    return item if item.get("kind") == "summary" else None
