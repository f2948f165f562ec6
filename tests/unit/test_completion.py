# SPDX-License-Identifier: Apache-2.0
"""What Tab offers, as the shells ask for it, and where the scripts are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.commands import ROOT, environment
from tracetw.cli import complete, completion, main
from tracetw.verdict.taxonomy import VERDICTS

CODES = [verdict.code for verdict in VERDICTS]


def offered(line: str, folder: Path, shell: str = "bash") -> list[str]:
    """The words that the shell gets for the last word of a line; "file" where it offers its own."""
    asked = {
        "_TRACETW_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1)
        if shell != "fish"
        else line.rsplit(" ", maxsplit=1)[-1],
    }
    done = subprocess.run(
        [sys.executable, "-m", "tracetw"],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(folder), **asked},
    )
    assert done.stderr == ""
    return [
        text.partition(",")[2] or text.partition(",")[0] for text in done.stdout.split("\n") if text
    ]


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("tracetw tr", ["trace"], ["doctor"]),
        ("tracetw trace --verd", ["--verdict"], ["--addr"]),
        ("tracetw trace --verdict peer-", ["peer-reset", "peer-lost-state"], ["orderly"]),
        ("tracetw trace --verdict !peer-r", ["!peer-reset"], ["peer-reset"]),
        ("tracetw trace --verdict orderly,peer-r", ["orderly,peer-reset"], ["peer-reset"]),
        ("tracetw report --verdict ", CODES, []),
        ("tracetw trace --events ret", ["retransmit"], ["drop"]),
        ("tracetw trace --netns ", ["all"], []),
        ("tracetw trace -o ", ["table", "wide", "json"], []),
        ("tracetw explain timewait-", [], ["orderly"]),
        ("tracetw explain ", CODES, []),
        ("tracetw lab run four", ["four-way-close"], ["linger-0"]),
        ("tracetw completion ", ["bash", "zsh", "fish"], []),
        ("tracetw no-such ", [], []),
        ("tracetw trace --verdict 'unclosed", [], []),
    ],
)
def test_values(line: str, some: list[str], none: list[str], tmp_path: Path) -> None:
    words = offered(line, tmp_path)
    assert {*some} <= {*words}
    assert not {*none} & {*words}


@pytest.mark.parametrize("line", ["tracetw report ", "tracetw replay ", "tracetw report --html "])
def test_files(line: str, tmp_path: Path) -> None:
    """The shell offers those itself."""
    asked = {"_TRACETW_COMPLETE": "bash_complete", "COMP_WORDS": line}
    done = subprocess.run(
        [sys.executable, "-m", "tracetw"],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(tmp_path), **asked, "COMP_CWORD": str(line.count(" "))},
    )
    assert done.stdout == "file,\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_values(shell: str, tmp_path: Path) -> None:
    done = "\n".join(offered("tracetw trace --verdict peer-r", tmp_path, shell))
    assert "peer-reset" in done


@pytest.mark.parametrize(
    "instruction", ["bash_complete", "zsh_complete", "nonsense", "a_b", "bash_"]
)
def test_never_a_word_about_what_goes_wrong(instruction: str, tmp_path: Path) -> None:
    """Without the variables that the shell sets."""
    done = subprocess.run(
        [sys.executable, "-m", "tracetw"],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(tmp_path), "_TRACETW_COMPLETE": instruction},
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_name_that_a_terminal_would_act_on_is_not_offered() -> None:
    def values() -> list[str]:
        return ["web", "\x1b[31mred", "a\nb", "", "\u202ertl"]

    assert complete._safe(values) == ["web"]

    def broken() -> list[str]:
        raise ZeroDivisionError

    assert complete._safe(broken) == []


def test_bash_completes(tmp_path: Path) -> None:
    """With the script, in the shell itself."""
    program = tmp_path / "tracetw"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m tracetw \"$@\"\n")
    program.chmod(0o755)
    script = """
        source <(tracetw completion bash)
        COMP_WORDS=(tracetw trace --verdict peer-r) COMP_CWORD=3
        _tracetw_completion tracetw peer-r --verdict
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert (done.stdout, done.stderr) == ("peer-reset\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_understood(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_TRACETW_COMPLETE" in result.stdout
    if shutil.which(shell):
        check = [shell, "-n"] if shell != "fish" else [shell, "--no-execute"]
        subprocess.run([*check, "/dev/stdin"], input=result.stdout, text=True, check=True)


def test_fish_keeps_lists_whole() -> None:
    text = CliRunner().invoke(main, ["completion", "fish"]).stdout
    assert 'string split --max 1 "," $completion' in text


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_one_command_installs_it(
    shell: str, *, root: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    everybody = {name: tmp_path / name / path.name for name, path in completion._EVERYBODY.items()}
    monkeypatch.setattr(completion, "_EVERYBODY", everybody)
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    result = CliRunner().invoke(main, ["completion", "--install"])
    assert result.exit_code == 0, result.output
    (written,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert f"wrote {written}" in result.stdout
    assert written.is_relative_to(tmp_path / "home") != root
    assert "_TRACETW_COMPLETE" in written.read_text()


def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(completion, "_EVERYBODY", {"bash": tmp_path / "file" / "tracetw"})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    result = CliRunner().invoke(main, ["completion", "bash", "--install"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line", ["tracetw trace --verdict ", "tracetw trace --", "tracetw explain "]
)
def test_tab_is_quick(line: str, tmp_path: Path) -> None:
    """Nothing large is loaded for it; the best of three, for other work on this machine."""
    took = []
    for _ in range(3):
        begin = time.perf_counter()
        offered(line, tmp_path)
        took.append(time.perf_counter() - begin)
    assert min(took) < 1.0


def test_help_and_tab_load_no_numpy() -> None:
    code = (
        "import sys, click\nfrom tracetw.cli import main\n"
        "context = click.Context(main)\n"
        "for name in main.list_commands(context):\n"
        "    main.get_command(context, name).get_help(context)\n"
        "assert not {'numpy', 'pyarrow', 'duckdb', 'scapy', 'pyroute2'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
