# SPDX-License-Identifier: Apache-2.0
"""What may import what, how long a module may be, and that only the loader needs BCC."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tracetw"
COMPILER = PACKAGE / "kernel" / "compiler.py"
LONGEST = 400

# A part may import its own modules and every part named here; all may import ROOT_MODULES.
MAY_IMPORT = {
    "event": set(),
    "verdict": {"event"},
    "kernel": {"event"},
    "host": {"event", "verdict"},
    "filter": {"event", "verdict", "host"},
    "recording": {"event", "verdict", "host"},
    "report": {"event", "verdict", "host", "filter", "recording", "sink"},
    "sink": {"event", "verdict", "host", "filter", "recording"},
    "lab": {"event", "verdict", "host", "kernel"},
    "options": {"event", "verdict", "host", "filter"},
}
EVERYTHING_BELOW = set(MAY_IMPORT)
MAY_IMPORT["trace"] = EVERYTHING_BELOW
MAY_IMPORT["cli"] = EVERYTHING_BELOW | {"trace"}
MAY_IMPORT["__main__"] = {"cli"}
ROOT_MODULES = {"__init__", "errors"}

MODULES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in MODULES]


def part(path: Path) -> str:
    """The part of the program a module belongs to: its folder or, at the top, itself."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything a module imports, wherever in it, also by import_module("...")."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module, names, level):
                base = ".".join(package.split(".")[: len(package.split(".")) - level + 1])
                source = ".".join(filter(None, (base if level else "", module)))
                yield from (f"{source}.{alias.name}" for alias in names)
            case ast.Constant(str(text)) if text.startswith("tracetw.") and " " not in text:
                yield text


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_imports_go_one_way(path: Path) -> None:
    mine = part(path)
    if mine in ROOT_MODULES:
        allowed: set[str] = set()
    else:
        assert mine in MAY_IMPORT, f"{mine} is a new part: say in MAY_IMPORT where it stands"
        allowed = MAY_IMPORT[mine] | {mine, *ROOT_MODULES, "__version__"}
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "tracetw" and rest:
            assert rest.split(".")[0] in allowed, f"{mine} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_only_the_loader_imports_bcc(path: Path) -> None:
    assert path == COMPILER or "bcc" not in {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_modules_are_short_and_about_something(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


def test_everything_imports_without_bcc() -> None:
    """As on a laptop, where a post-mortem is read. The loader alone is left out."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
        if path not in {COMPILER, PACKAGE / "__main__.py"}
    ]
    code = (
        "import importlib, sys\n"
        "sys.modules['bcc'] = None\n"
        "for name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_files_name_their_licence() -> None:
    """BPF may be taken under either licence, so that the kernel's helpers for GPL programs are ours."""
    for path in MODULES:
        assert "SPDX-License-Identifier: Apache-2.0" in path.read_text(encoding="utf-8"), path
    for path in (path for end in ("c", "h") for path in (ROOT / "bpf").rglob(f"*.{end}")):
        text = path.read_text(encoding="utf-8")
        assert "SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0" in text, path
