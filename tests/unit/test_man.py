# SPDX-License-Identifier: Apache-2.0
"""Manual pages: what the help says, in roff that formatters take, shipped in the wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.unit.commands import COMMANDS
from tracetw.cli import main

ROOT = Path(__file__).resolve().parents[2]
MAN = ROOT / "man"
PAGES = sorted(MAN.glob("*.1"))


def said(*command: str) -> str:
    """Everything that a formatter has against something."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip()


def test_pages_are_generated() -> None:
    script = ROOT / "scripts" / "gen-man"
    assert said(sys.executable, str(script), "--check") == ""


def test_each_command_has_its_page() -> None:
    assert {page.stem for page in PAGES} == {"-".join(("tracetw", *path)) for path in COMMANDS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_formatters_have_nothing_against_it(page: Path) -> None:
    if shutil.which("groff") is None:
        assert os.environ.get("CI") != "true", "groff is not installed"
        pytest.skip("groff is not installed")
    assert said("groff", "-man", "-Tutf8", "-ww", "-z", str(page)) == ""
    if shutil.which("mandoc") is not None:
        assert said("mandoc", "-T", "lint", "-W", "error", str(page)) == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_it_says_what_the_help_says(page: Path) -> None:
    """Every option, every paragraph and every example."""
    if shutil.which("groff") is None:
        assert os.environ.get("CI") != "true", "groff is not installed"
        pytest.skip("groff is not installed")
    command: click.Command = main
    context = click.Context(main)
    for name in page.stem.split("-")[1:]:
        assert isinstance(command, click.Group)
        found = command.get_command(context, name)
        assert found is not None
        command = found
    shown = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-cbou", "-rLL=500n", str(page)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    plain = " ".join(re.sub(r".\x08", "", shown).split())
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option):
            for name in parameter.opts:
                assert name in plain
            assert " ".join((parameter.help or "").split()) in plain
    for line in (command.help or "").replace("\b", "").splitlines():
        assert " ".join(line.split()).removesuffix(":") in plain, line


def test_they_are_in_the_wheel() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert '[tool.hatch.build.targets.wheel.shared-data]\n"man" = "share/man/man1"' in project
