# SPDX-License-Identifier: Apache-2.0
"""What may import what, how long a module may be, and that nothing imports BCC."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tracetw"
LONGEST = 400

# A room may import its own modules and those of every room named here; all may import ROOT_MODULES.
MAY_IMPORT = {
    "event": set(),
    "host": {"event"},
    "verdict": {"event"},
    "kernel": {"event"},
    "reconcile": {"event", "host", "verdict"},
    "stream": {"event", "host", "kernel", "reconcile", "verdict"},
    "recording": {"event", "host"},
    "sink": {"event", "host", "stream", "verdict"},
    "recorder": {"event", "host", "reconcile", "recording", "sink", "stream", "verdict"},
    "replay": {"event", "host", "reconcile", "recording", "stream", "verdict"},
    "live": {"event", "host", "kernel", "reconcile", "sink", "stream", "verdict"},
    "doctor": {"event", "host", "verdict"},
    "report": {
        "doctor",
        "event",
        "host",
        "reconcile",
        "recording",
        "replay",
        "sink",
        "stream",
        "verdict",
    },
    "query": {"event", "host", "recording", "replay", "report", "sink", "stream", "verdict"},
    "timewait": {"event", "host", "live", "recording", "replay", "stream", "verdict"},
    "top": {
        "event",
        "host",
        "live",
        "recording",
        "reconcile",
        "replay",
        "report",
        "sink",
        "stream",
        "timewait",
        "verdict",
    },
    "lab": {"event", "host", "kernel", "timewait", "verdict"},
    "cli": {
        "doctor",
        "host",
        "kernel",
        "lab",
        "live",
        "query",
        "recorder",
        "recording",
        "replay",
        "report",
        "sink",
        "stream",
        "timewait",
        "top",
        "verdict",
    },
    "__main__": {"cli"},
}
# Beside the rooms: what it may import of the others here. Every room may import all of them.
ROOT_MODULES: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "closing": set(),
    "extras": {"errors"},
    "isolated": {"errors"},
    "text": set(),
    "messages": {"text"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in MODULES]


def part(path: Path) -> str:
    """The room a module belongs to: its folder or, at the top, itself."""
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
        allowed = ROOT_MODULES[mine]
    else:
        assert mine in MAY_IMPORT, f"{mine} is a new room: say in MAY_IMPORT where it stands"
        allowed = MAY_IMPORT[mine] | {mine, *ROOT_MODULES, "__version__"}
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "tracetw" and rest:
            assert rest.split(".")[0] in allowed, f"{mine} must not import {name}"


def test_no_room_is_above_itself() -> None:
    """The list is in order: a room names only rooms that stand before it."""
    before: set[str] = set()
    for room, below in MAY_IMPORT.items():
        assert below <= before, f"{room} must stand below {below - before}"
        before.add(room)


# Public classes of one name, and why they may be: the same thing in two rooms, or programs that run alone.
DOUBLED = {
    "Program": "each the whole of a process of its own",
    "Template": "of a sentence; of a line",
}


def test_a_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    doubled = {name: found for name, found in places.items() if len(found) > 1}
    assert {*doubled} == {*DOUBLED}, doubled


# In kernel/ what decides knows nothing of what acts, which is in kernel/load/.
DECIDES = sorted(path for path in (PACKAGE / "kernel").glob("*.py"))


@pytest.mark.parametrize("path", DECIDES, ids=[path.name for path in DECIDES])
def test_what_decides_does_not_act(path: Path) -> None:
    acts = {name for name in imports(path) if name.startswith("tracetw.kernel.load.")}
    assert not acts


# Packages of scripts/ and what they may import of tracetw and of each other.
SCRIPTS = {
    "benchmark": {"tracetw"},
    "checkout": set(),
    "guests": {"tracetw"},
    "pages": {"checkout", "tracetw"},
}
SCRIPT_MODULES = sorted(path for path in (ROOT / "scripts").rglob("*.py"))


@pytest.mark.parametrize("path", SCRIPT_MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_import_one_way(path: Path) -> None:
    package = path.relative_to(ROOT / "scripts").parts[0]
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "scripts" and rest:
            allowed = {package, *SCRIPTS[package]}
            assert rest.split(".")[0] in allowed, f"{package} must not import {name}"
        elif top == "tracetw":
            assert "tracetw" in SCRIPTS[package], f"{package} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_the_package_does_not_import_its_scripts(path: Path) -> None:
    assert not {name for name in imports(path) if name.partition(".")[0] in {"scripts", "tests"}}


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_nothing_imports_bcc(path: Path) -> None:
    """The compiler loads it from its folder: an import would see all of the system's packages."""
    assert "bcc" not in {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_modules_are_short_and_about_something(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


def test_everything_imports_without_bcc() -> None:
    """As on a laptop, where a post-mortem is read."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
        if path != PACKAGE / "__main__.py"
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
