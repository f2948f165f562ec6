# SPDX-License-Identifier: Apache-2.0
"""``tracetw top`` as a command: one screen as text, what is refused, a real terminal and its end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.commands import GOLDEN, environment, run

ALT_SCREEN, NORMAL_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"


def test_once_prints_one_screen(tmp_path: Path) -> None:
    ended = run("top", "--replay", str(GOLDEN), "--once", "--utc", folder=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "top: closes  golden  recording  12:44:21Z  2 s: 150 ends  lost 0"
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in ended.out


def test_once_of_another_screen_with_a_filter(tmp_path: Path) -> None:
    words = ("--once", "--screen", "story", "--comm", "curl", "--abnormal")
    ended = run("top", "--replay", str(GOLDEN), *words, folder=tmp_path)
    assert ended.code == 0
    rows = ended.out.splitlines()[2:]
    assert rows
    assert all("curl/" in row and "orderly" not in row for row in rows)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--replay", str(GOLDEN)], "top needs a terminal; use --once"),
        ([], "top needs a terminal; use --once"),
        (["--replay", "no-such", "--once"], "no-such"),
        (["--since", "12:00"], "--since and --until choose a part of a recording"),
        (["--replay", str(GOLDEN), "--duration", "3"], "--duration is for this host"),
        (["--replay", str(GOLDEN), "--speed", "0"], "--speed '0' is no speed"),
        (["--delay", "0"], "--delay"),
        (["--screen", "none"], "--screen"),
        (["--port", "x", "--once"], "--port"),
    ],
    ids=str,
)
def test_what_is_refused(words: list[str], says: str, tmp_path: Path) -> None:
    ended = run("top", *words, folder=tmp_path)
    assert ended.code == 2
    assert says in ended.err
    assert len(ended.lines) == 1
    assert not ended.out


class Terminal:
    """``tracetw top`` on a terminal of 80 columns and 24 lines."""

    def __init__(self, folder: Path, *words: str, program: str = "", **more: str) -> None:
        what = ["-c", program] if program else ["-m", "tracetw", "top", *words]
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.execve(  # noqa: S606 (in the child of a terminal)
                sys.executable,
                [sys.executable, *what],
                {**environment(folder), "TERM": "xterm-256color", "LANG": "C.UTF-8", **more},
            )
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.fd)
        self.seen = b""

    def until(self, text: bytes, seconds: float = 30) -> bytes:
        """Read until it says so."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen[-2000:]
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.fd, 1 << 16)
                except OSError:  # EIO: everybody has closed it
                    break
        return self.seen

    def ended(self) -> int:
        """Its exit code, after its last words."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.1)[0]:
                with suppress(OSError):
                    self.seen += os.read(self.fd, 1 << 16)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError(self.seen[-2000:])


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_is_refused(term: str, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--replay", str(GOLDEN), TERM=term)
    assert terminal.ended() == 2
    assert b"use --once" in terminal.seen
    assert ALT_SCREEN not in terminal.seen


@pytest.mark.parametrize(
    "end", [b"q", b"\x03", signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT], ids=str
)
def test_however_it_ends_the_terminal_is_as_it_was(
    end: bytes | signal.Signals, tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path, "--replay", str(GOLDEN))
    terminal.until(b"peer-reset")
    assert ALT_SCREEN in terminal.seen
    assert termios.tcgetattr(terminal.fd)[3] != terminal.before[3]  # no echo
    if isinstance(end, bytes):
        os.write(terminal.fd, end)
    else:
        os.kill(terminal.pid, end)
    assert terminal.ended() == 0
    assert NORMAL_SCREEN in terminal.seen
    assert b"\x1b[?25h" in terminal.seen  # the cursor
    assert termios.tcgetattr(terminal.fd)[:4] == terminal.before[:4]


def test_no_color(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--replay", str(GOLDEN), NO_COLOR="1")
    terminal.until(b" end ")
    os.write(terminal.fd, b"q")
    assert terminal.ended() == 0
    for found in re.findall(rb"\x1b\[([0-9;]*)m", terminal.seen):
        assert not {
            number for number in found.split(b";") if re.fullmatch(rb"[349][0-8].*", number)
        }


def test_colours_without(tmp_path: Path) -> None:
    """The near miss of the last one."""
    terminal = Terminal(tmp_path, "--replay", str(GOLDEN))
    terminal.until(b" end ")
    os.write(terminal.fd, b"q")
    assert terminal.ended() == 0
    assert re.search(rb"\x1b\[[0-9;]*\b31[;m]", terminal.seen)


def test_a_locale_of_ascii_gets_ascii(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--replay", str(GOLDEN), LC_ALL="POSIX", PYTHONCOERCECLOCALE="0")
    terminal.until(b" end ")
    os.write(terminal.fd, b"q")
    assert terminal.ended() == 0
    assert terminal.seen.isascii()


# A trace that fails while it is looked at: its disk is full, say.
FAILS = """
import sys, time
from tests.unit.top_boards import HERE, resets
from tracetw.cli.ending import outcome
from tracetw.errors import {error}
from tracetw.top.board import Board
from tracetw.top.feed import Feed
from tracetw.top.frame import full_screen
from tracetw.top.state import ViewState

def work(make_sink, stop):
    make_sink(HERE).closes(resets(1))
    time.sleep({seconds})
    raise {error}("it went wrong", "do something")

board = Board()
sys.exit(outcome(lambda: full_screen(board, ViewState(), Feed(board, work), 1.0)))
"""


@pytest.mark.parametrize(("error", "code"), [("Failed", 1), ("CannotTrace", 3)])
def test_a_trace_that_fails_says_so_after_the_screen(error: str, code: int, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, program=FAILS.format(error=error, seconds=2))
    assert terminal.ended() == code
    _, _, after = terminal.seen.partition(NORMAL_SCREEN)
    assert ALT_SCREEN in terminal.seen
    assert b"tracetw: it went wrong; do something" in after
    assert b"Traceback" not in terminal.seen
    assert termios.tcgetattr(terminal.fd)[:4] == terminal.before[:4]


def test_a_trace_that_cannot_begin_shows_no_screen(tmp_path: Path) -> None:
    program = FAILS.format(error="CannotTrace", seconds=0).replace("    make_sink", "    # ")
    terminal = Terminal(tmp_path, program=program)
    assert terminal.ended() == 3
    assert b"it went wrong" in terminal.seen
    assert ALT_SCREEN not in terminal.seen
