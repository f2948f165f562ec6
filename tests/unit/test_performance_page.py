# SPDX-License-Identifier: Apache-2.0
"""docs/performance.md is of the code that is here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.benchmark.digest import MEASURED, files, mark, stale

ROOT = Path(__file__).parents[2]


# A page of other code has to say so to its reader; scripts/bench --write leaves no such line.
OF_OTHER_CODE = "**These numbers are of commit "


def test_the_measured_code_has_not_changed_since() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert stale(ROOT) is None or OF_OTHER_CODE in page, stale(ROOT)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for path in (file for place in MEASURED for file in files(ROOT, place)):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    page = tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    page.write_text(f"# Performance\n\n{mark(tmp_path)}\n")
    return tmp_path


@pytest.mark.parametrize("place", MEASURED)
def test_every_measured_place_has_code(place: str) -> None:
    found = [path.relative_to(ROOT).as_posix() for path in files(ROOT, place)]
    assert found
    assert not [name for name in found if "handbook" in name or "__pycache__" in name]


def test_a_page_of_this_code_is_right(checkout: Path) -> None:
    assert mark(checkout) == mark(ROOT)
    assert stale(checkout) is None


Edit = Callable[[str], str]


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("bpf/table.h", lambda text: f"{text}int more;\n"),
        ("scripts/storm.c", lambda text: text.replace("#define CHUNK 32", "#define CHUNK 33")),
        ("tracetw/verdict/judge.py", lambda text: f"{text}\nMORE = 1\n"),
        ("tracetw/live/new.py", lambda _: "MORE = 1\n"),
    ],
)
def test_changed_code_makes_it_stale(checkout: Path, name: str, edit: Edit) -> None:
    path = checkout / name
    path.write_text(edit(path.read_text() if path.exists() else ""))
    place = next(place for place in MEASURED if name.startswith(place))
    assert stale(checkout) == (
        f"docs/performance.md was measured before {place} changed;"
        " commit, then on a quiet machine: sudo scripts/bench --write"
    )


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("bpf/table.h", lambda text: f"{text}\n/* why */\n// that\n"),
        ("tracetw/verdict/judge.py", lambda text: f"{text}\n\n# why\n"),
        ("tracetw/verdict/judge.py", lambda text: text.replace('"""', '"""More. ', 1)),
        ("tracetw/verdict/handbook/new.py", lambda _: "TEXT = 1\n"),
        ("tracetw/live/notes.txt", lambda _: "x"),
    ],
)
def test_what_costs_nothing_does_not_matter(checkout: Path, name: str, edit: Edit) -> None:
    path = checkout / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(edit(path.read_text() if path.exists() else ""))
    assert stale(checkout) is None


def test_a_page_without_a_digest_is_stale(checkout: Path) -> None:
    checkout.joinpath("docs", "performance.md").write_text("# Performance\n")
    assert "before bpf, tracetw/event, " in (stale(checkout) or "")
