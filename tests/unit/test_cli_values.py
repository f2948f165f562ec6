# SPDX-License-Identifier: Apache-2.0
"""Whatever stands behind an option: it is taken, or one line says what is wrong with it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from tests.unit.commands import COMMANDS, GOLDEN
from tracetw.cli import main

HOSTILE = (
    "",
    " ",
    "!",
    "!!",
    ",",
    "-1",
    "0",
    "9" * 5000,
    "1e400",
    "nan",
    "inf",
    "٤",
    "½",
    "\x1b]0;title\x07",
    "\udcff\udcfe",
    "a\nb",
    "\u202e",
    "*" * 3000,
    "[" * 2000,
    "[]]",
    "../" * 2000,
    "/proc/self/mem",
    "/dev/zero",
    "%s%n{0}",
    "0001-01-01",
    "9999-12-31T23:59:59Z",
    "99:99",
    "1e9d",
    "99999999999999h",
    "::ffff:0:0/96",
    "0.0.0.0/0",
    "fe80::1%eth0",
)
# An argument each needs besides the option.
ARGUMENTS = {
    ("record",): ["-o", "out"],  # a folder of its own for each
    ("report",): ["recording"],
    ("replay",): ["recording"],
    ("query",): ["recording", "SELECT 1"],
    ("lab", "run"): ["no-such-scenario"],
    ("lab", "packetdrill"): ["no-such-script"],
}


def found(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        below = command.get_command(click.Context(command), name)
        assert below is not None
        command = below
    return command


def cases() -> Iterator[tuple[tuple[str, ...], str]]:
    """Every option that takes a value, of every command."""
    for path in COMMANDS:
        for parameter in found(path).params:
            if isinstance(parameter, click.Option) and not parameter.is_flag:
                yield path, parameter.opts[-1]
    for path in (("explain",), ("lab", "run"), ("lab", "packetdrill"), ("report",), ("replay",)):
        yield path, "an argument"
    yield ("completion",), "an argument"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a recording; nothing is traced in it."""
    shutil.copytree(GOLDEN, tmp_path / "recording")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "tracetw.live.run", SimpleNamespace(run=lambda *_: 0))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "option"), [*cases()], ids=lambda one: "-".join(one) if isinstance(one, tuple) else one
)
def test_any_value(path: tuple[str, ...], option: str, folder: Path) -> None:
    there = {*folder.rglob("*")}
    for number, value in enumerate(HOSTILE):
        words = [value] if option == "an argument" else [*ARGUMENTS.get(path, []), option, value]
        if path == ("record",) and option != "--output":
            words[1] = f"out-{number}"
        if path == ("query",):
            words = [option, value, *ARGUMENTS[path]]
        result = CliRunner().invoke(main, [*path, *words])
        assert not isinstance(result.exception, Exception), (value, result.exception)
        assert result.exit_code in {0, 1, 2, 3}, value
        lines = result.stderr.splitlines()
        notes = [line for line in lines if "15 bytes of a name; taken" in line]
        # What a very long name has pushed out of its line may be that note.
        cut = [line for line in lines if "--comm '" in line and line.endswith("…")]
        if result.exit_code:
            assert all(line.startswith("tracetw: ") for line in lines), (value, lines)
            assert 0 <= len(lines) - 1 - len(notes) <= min(len(cut), 1), (value, lines)
        assert not {*"\x1b\x07\x9b\u202e"} & {*result.stderr}, value
    if option != "--output":
        made = {file.relative_to(folder).parts[0] for file in {*folder.rglob("*")} - there}
        assert all(
            name.startswith(("out-", "recording")) or option in {"--html", "--to"} for name in made
        ), made
