# SPDX-License-Identifier: Apache-2.0
"""The linters are tests. A tool that is missing skips its test, but fails it where CI is set."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from difflib import unified_diff
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = ("tracetw", "tests", "scripts")
SCRIPTS = sorted(
    path
    for folder in ("scripts", ".ci", "vagrant")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
)
C_FILES = sorted(
    path
    for folder in ("bpf", "scripts", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".c", ".h"}
)


def written_in(language: str, *suffixes: str) -> list[str]:
    """Scripts of a language, known by their suffix or first line."""

    def is_it(path: Path) -> bool:
        if path.suffix:
            return path.suffix in suffixes
        first = path.read_bytes().partition(b"\n")[0].decode(errors="replace")
        return re.search(rf"^#!.*\b{language}", first) is not None

    return [str(path.relative_to(ROOT)) for path in SCRIPTS if is_it(path)]


def unavailable(what: str) -> None:
    """Skip, or fail in continuous integration, where everything must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")


def run(*command: str) -> str:
    """Run a tool in the checkout and return its output; its complaints fail the test."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def module(name: str, *arguments: str) -> None:
    """Run a Python tool that is installed next to this interpreter."""
    if find_spec(name) is None:
        unavailable(name)
    run(sys.executable, "-m", name, *arguments)


def program(name: str, *arguments: str) -> str:
    """Run a tool of the distribution."""
    if shutil.which(name) is None:
        unavailable(name)
    return run(name, *arguments)


def test_ruff_check() -> None:
    module("ruff", "check", "--no-cache", *PYTHON, *written_in("python"))


def test_ruff_format() -> None:
    module("ruff", "format", "--no-cache", "--check", *PYTHON, *written_in("python"))


@pytest.mark.parametrize("part", [PYTHON, *((name,) for name in written_in("python"))], ids=str)
def test_mypy(part: tuple[str, ...]) -> None:
    cache = ROOT / ".mypy_cache" if os.access(ROOT, os.W_OK) else Path(os.devnull)
    module("mypy", "--cache-dir", str(cache), *part)


def test_shellcheck() -> None:
    program("shellcheck", "--external-sources", *written_in("bash|sh", ".bash", ".sh"))


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_clang_format(path: Path) -> None:
    """Blanks inside a line are free: tables are lined up with tabs (see .clang-format)."""
    wanted = squeeze(program("clang-format", "--style=file", str(path)))
    difference = list(unified_diff(squeeze(path.read_text()), wanted, "is", "should be", n=0))
    if difference:
        pytest.fail("\n".join([str(path), *difference]), pytrace=False)


def squeeze(text: str) -> list[str]:
    """Lines with each run of blanks after the indentation made one, also before a final backslash."""
    return [re.sub(r"(?<=\S)[ \t]+|[ \t]+(?=\\$)", " ", line) for line in text.splitlines()]
