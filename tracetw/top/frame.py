# SPDX-License-Identifier: Apache-2.0
"""One screen as plain text, and the full screen: what ``tracetw top`` shows."""

from __future__ import annotations

import os
import signal
import sys

from tracetw.errors import BadInput
from tracetw.host import privileges
from tracetw.top.board import Board
from tracetw.top.feed import Feed
from tracetw.top.host import HostLooks
from tracetw.top.lines import plain, speaks_utf8
from tracetw.top.page import LEAST, Painter
from tracetw.top.state import ViewState

_SIZE = (80, 24)
_DIGITS = 3
_KEEP = (*privileges.READ_PROCESSES, *privileges.ENTER_NAMESPACES)


def check_terminal() -> None:
    """Raises BadInput where no full screen can be shown."""
    term = os.environ.get("TERM", "")
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise BadInput("top needs a terminal", "use --once for one screen as text, or trace")
    if term in {"", "dumb"}:
        raise BadInput(
            f"TERM={term} cannot show a full screen",
            "set TERM to what the terminal is, as xterm-256color, or use --once",
        )


def print_once(board: Board, state: ViewState, feed: Feed) -> int:
    """Let the feed come to its end, then print the screen; the exit code."""
    host = None if board.recorded else HostLooks(board, 1.0)
    feed.start()
    code = feed.wait()
    if host is not None:
        host.look(state)
    width, height = _size()
    page = Painter(board, host, utf8=_utf8()).page(state, width, height, keys=False)
    lines = [plain(line) for line in page.lines]
    while lines and not lines[-1]:
        lines.pop()
    print("\n".join(lines))  # noqa: T201 (what it is for)
    return code


def full_screen(board: Board, state: ViewState, feed: Feed, delay_s: float) -> int:
    """Until the user ends it; the exit code. Whatever happens, the terminal is as it was before."""
    from tracetw.top.app import TopApp  # noqa: PLC0415  Textual takes its time

    feed.start()
    privileges.drop(_KEEP)
    interrupt = signal.getsignal(signal.SIGINT)
    host = None if board.recorded else HostLooks(board, delay_s)
    painter = Painter(board, host, utf8=speaks_utf8())
    app = TopApp(board, state, painter, feed.running, delay_s)
    try:
        app.run(mouse=False)
    finally:
        signal.signal(signal.SIGINT, interrupt)
    code = feed.finish()
    return code or app.return_code or 0


def _size() -> tuple[int, int]:
    """Of the terminal, else 80 columns and 24 lines; ``COLUMNS`` and ``LINES`` say otherwise."""
    try:
        found = tuple(os.get_terminal_size(sys.stdout.fileno()))
    except (OSError, ValueError):
        found = _SIZE
    asked = (os.environ.get("COLUMNS", ""), os.environ.get("LINES", ""))
    sizes = [
        int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else size
        for text, size in zip(asked, found, strict=True)
    ]
    return max(sizes[0], LEAST[0]), max(sizes[1], LEAST[1])


def _utf8() -> bool:
    return sys.stdout.encoding.lower().replace("-", "") == "utf8" and speaks_utf8()
