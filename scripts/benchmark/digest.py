# SPDX-License-Identifier: Apache-2.0
"""Which code the numbers in docs/performance.md depend on, and digests of it.

Comments, docstrings and empty lines do not count: they cost nothing.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MEASURED", "files", "mark", "stale"]

ROOMS = ("event", "kernel", "live", "reconcile", "recorder", "sink", "stream", "verdict")
MEASURED = ("bpf", *(f"tracetw/{room}" for room in ROOMS), "scripts/storm.c")
# Texts for `tracetw explain`, which a trace never reads.
NOT_RUN = "tracetw/verdict/handbook"
MARK = re.compile(r"^<!-- measured code: (.*) -->$", re.MULTILINE)
C_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def files(root: Path, place: str) -> Iterator[Path]:
    """The files of a measured place of the checkout, in order."""
    path = root / place
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        inside = file.relative_to(root).as_posix()
        if file.suffix in {".py", ".c", ".h"} and not inside.startswith(NOT_RUN):
            yield file


def _docstrings(text: str) -> set[int]:
    """Numbers of the lines on which the docstrings stand."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(ast.Constant(str())) as first, *_]:
                    lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def _code(path: Path) -> str:
    """Its lines without comments, docstrings and space at the end."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        drop = _docstrings(text)
        lines = [line for n, line in enumerate(text.splitlines(), 1) if n not in drop]
        lines = [line for line in lines if not line.lstrip().startswith("#")]
    else:
        lines = C_COMMENT.sub("", text).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _digest(root: Path, place: str) -> str:
    total = hashlib.sha256()
    for path in files(root, place):
        total.update(f"{path.relative_to(root).as_posix()}\n{_code(path)}\0".encode())
    return total.hexdigest()[:20]


def mark(root: Path) -> str:
    """The line that the page holds: a digest of each measured place of the checkout."""
    digests = " ".join(f"{place}={_digest(root, place)}" for place in MEASURED)
    return f"<!-- measured code: {digests} -->"


def stale(root: Path) -> str | None:
    """What is wrong with docs/performance.md and what to run; None when it is of this code."""
    held = MARK.search((root / "docs" / "performance.md").read_text(encoding="utf-8"))
    known = dict(word.split("=", 1) for word in held[1].split()) if held else {}
    changed = [place for place in MEASURED if known.get(place) != _digest(root, place)]
    if not changed:
        return None
    return (
        f"docs/performance.md was measured before {', '.join(changed)} changed;"
        " commit, then on a quiet machine: sudo scripts/bench --write"
    )
