# SPDX-License-Identifier: Apache-2.0
"""What only happens on a terminal: a pager for long text, a bar while a large recording is read."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.commands import GOLDEN, environment
from tracetw.cli import progress as bars
from tracetw.cli.progress import progress
from tracetw.recording.reader import open_recordings


def on_terminal(folder: Path, *words: str, **more: str) -> tuple[int, str]:
    """Exit code and what 24 lines of 80 columns were sent."""
    pid, terminal = pty.fork()
    if not pid:
        extra = {"TERM": "xterm", "LINES": "24", "COLUMNS": "80", **more}
        os.execve(  # noqa: S606 (in the child of a terminal)
            sys.executable,
            [sys.executable, "-m", "tracetw", *words],
            {**environment(folder), **extra},
        )
    shown, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # EIO: everybody has closed it
            break
        shown += part
    else:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


@pytest.mark.parametrize(
    "words", [["explain"], ["report", str(GOLDEN)]], ids=lambda words: words[0]
)
def test_long_text_goes_through_the_pager(words: list[str], tmp_path: Path) -> None:
    code, shown = on_terminal(tmp_path, *words, PAGER="sed s/^/paged:/")
    assert code == 0
    assert all(line.startswith("paged:") for line in shown.splitlines())


@pytest.mark.parametrize(
    ("words", "pager"),
    [
        (["explain", "--no-pager"], "sed s/^/paged:/"),
        (["explain", "abort-linger"], "sed s/^/paged:/"),
        (["explain"], "cat"),
        (["explain"], "no-such-pager"),
        (["report", str(GOLDEN), "--json"], "sed s/^/paged:/"),
        (["explain", "--help"], "sed s/^/paged:/"),
    ],
    ids=str,
)
def test_what_is_short_or_not_for_a_person_does_not(
    words: list[str], pager: str, tmp_path: Path
) -> None:
    tall = {"LINES": "60"} if words[-1] == "abort-linger" else {}
    code, shown = on_terminal(tmp_path, *words, PAGER=pager, **tall)
    assert code == 0, shown
    assert shown
    assert "paged:" not in shown
    assert "Traceback" not in shown


def test_a_pager_may_be_left_early(tmp_path: Path) -> None:
    code, shown = on_terminal(tmp_path, "explain", PAGER="head -2")
    assert code == 0
    assert len(shown.splitlines()) == 2


class Terminal(io.StringIO):
    """Remembers what a person sees."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """As stderr, where a bar is due at once."""
    made = Terminal()
    # Not in sys: pytest puts its own there before the test begins.
    monkeypatch.setattr(bars, "sys", SimpleNamespace(stderr=made))
    monkeypatch.setattr(bars, "_AFTER_S", 0.0)
    monkeypatch.setattr(bars, "_EVERY_S", 0.0)
    monkeypatch.setattr(bars, "_MB", 1_000)
    monkeypatch.setenv("TERM", "xterm")
    return made


def read(times: int = 1) -> None:
    (recording,) = open_recordings([GOLDEN])
    for _ in range(times):
        rows = [*recording.closes(16), *recording.events(16)]
        assert rows


def test_a_bar_says_how_much_was_read(terminal: Terminal) -> None:
    with progress():
        read()
    shown = terminal.getvalue()
    assert "looking through" in shown
    found = [*map(int, re.findall(r"(\d+) of \d+ MB read", shown))]
    (total,) = {*map(int, re.findall(r"of (\d+) MB read", shown))}
    assert found == sorted(found)
    assert total / 2 < found[-1] <= total
    assert shown.endswith("\r\x1b[K\x1b[?25h")  # erased, and the cursor is there


def test_reading_again_is_said(terminal: Terminal) -> None:
    with progress():
        read(times=2)
    assert "pass 2" in terminal.getvalue()


def test_an_error_leaves_a_clean_line(terminal: Terminal) -> None:
    def failing() -> None:
        with progress():
            read()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert terminal.getvalue().endswith("\x1b[?25h")


@pytest.mark.parametrize("why", ["not shown", "no terminal", "dumb"])
def test_no_bar_where_nobody_sees_it(
    why: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "no terminal":
        monkeypatch.setattr(Terminal, "isatty", lambda _: False)
    elif why == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    with progress(shown=why != "not shown"):
        read()
    assert terminal.getvalue() == ""


def test_no_bar_for_what_is_quick(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "_AFTER_S", 60.0)
    with progress():
        read()
    assert terminal.getvalue() == ""
