# SPDX-License-Identifier: Apache-2.0
"""A whole screen as lines: what stands above, the list or the text, the keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracetw.text import ELLIPSIS, clip, columns, visible
from tracetw.top.board import Board
from tracetw.top.closes import GroupTexts, closes_body
from tracetw.top.connections import connections_body
from tracetw.top.host import HostLooks, failing_body, timewait_body
from tracetw.top.keys import help_body, hints
from tracetw.top.lines import Cell, Line, fit, joined, row, whole
from tracetw.top.span import clock_text, newest, span_of
from tracetw.top.state import SCREENS, Body, ListLook, ViewState
from tracetw.top.story import story_body
from tracetw.top.trust import Compared, trust_body

LEAST = (40, 8)
"""Columns and lines below which nothing can be shown."""

_SIMPLE = {ELLIPSIS: "~"}


@dataclass(frozen=True, slots=True)
class Page:
    """What is on the screen.

    Attributes:
        lines: as many as the screen has.
        selected: which of them is the selected one; None: none is.
        item: what that one is about.
        body: where it comes from.
        room: lines of the list that there is room for.
    """

    lines: Sequence[Line]
    selected: int | None
    item: int | None
    body: Body
    room: int


class Painter:
    """Makes pages of a board.

    Args:
        board: what there is to see.
        host: looks at the sockets of this host; None for a recording.
        utf8: the terminal shows more than ASCII.
    """

    def __init__(self, board: Board, host: HostLooks | None = None, *, utf8: bool = True) -> None:
        self.names = GroupTexts()
        self._board = board
        self.host = host
        self._utf8 = utf8

    def _so_far(self) -> Compared | None:
        seen = self.host.counters.seen(None) if self.host is not None else None
        return seen.what if seen is not None else None

    def body(self, state: ViewState, width: int, height: int) -> Body:
        """What the screen has to show."""
        board = self._board
        if state.help:
            return help_body()
        if state.screen == "story" and state.connection is not None:
            return story_body(board, state.connection, width)
        bodies = {
            "closes": lambda: closes_body(
                board, state, self.names, (width, height), utf8=self._utf8
            ),
            "failing": lambda: failing_body(board, self.host, state),
            "timewait": lambda: timewait_body(board, self.host, state, height),
            "story": lambda: connections_body(board, state, self.names),
            "trust": lambda: trust_body(board, width, self._so_far()),
        }
        return bodies[state.screen]()

    def page(self, state: ViewState, width: int, height: int, *, keys: bool = True) -> Page:
        """The screen in so many columns and lines; ``keys`` in the last line."""
        board = self._board
        with board.lock:
            body = self.body(state, width, height)
            top: list[Line] = [self._first(state, _order(body, state.look))]
            if state.filter:
                top.append((("filter: ", "dim"), (visible(state.filter), "key")))
            top += [*body.head]
            top += _titles(body, width)
            room = max(height - len(top) - keys, 1)
            first, cursor = _place(body, state.look, room)
            widths = fit(body.columns, width)
            rows = [
                row(body.cells(at), body.columns, widths) if body.columns else tuple(body.cells(at))
                for at in range(first, min(first + room, body.count))
            ]
            item = body.item(cursor) if cursor is not None else None
        if not rows and body.empty:
            rows = [((body.empty, "dim"),)]
        lines = [*top, *rows]
        lines += [()] * (height - keys - len(lines))
        lines = [*lines[: height - keys], *([hints(width)] if keys else [])]
        selected = None if cursor is None else len(top) + cursor - first
        lines = [whole(line, width) for line in lines]
        if not self._utf8:
            lines = [tuple((_ascii(text), tone) for text, tone in line) for line in lines]
        return Page(lines, selected, item, body, room)

    def _first(self, state: ViewState, order: Cell) -> Line:
        board, time = self._board, span_of(self._board, state)
        counts = board.total(max(time.since, 0), time.until)
        title = SCREENS[state.screen]
        if state.at is not None:
            mode: Cell = (f"at {clock_text(board, time.until_ns)}", "odd")
        elif board.recorded:
            mode = ("recording" if board.over else "reading", "dim")
        else:
            mode = ("live", "good")
        host = visible(board.contexts[0].host) if board.contexts else ""
        more = f" +{len(board.contexts) - 1}" if len(board.contexts) > 1 else ""
        lost: Cell = (f"lost {board.lost:,}", "bad") if board.lost else ("lost 0", "dim")
        now = clock_text(board, newest(board) * board.slots.width_ns) if newest(board) else "-"
        parts: list[Cell] = [
            (f"top: {title}", "head"),
            (clip(host, 20) + more, ""),
            mode,
            (now, "") if state.at is None else ("", ""),
            (f"{_seconds(time.seconds)}: {int(counts.sum()):,} ends", ""),
            lost,
            order,
        ]
        return joined(part for part in parts if part[0])


def _ascii(text: str) -> str:
    """The same in as many columns."""
    if text.isascii():
        return text
    return "".join(_SIMPLE.get(one, "?" * columns(one)) if one > "\x7f" else one for one in text)


def _seconds(seconds: float) -> str:
    whole_seconds = round(seconds)
    if whole_seconds < 600 or whole_seconds % 60:  # noqa: PLR2004
        return f"{whole_seconds:,} s"
    return f"{whole_seconds // 60:,} min"


def _titles(body: Body, width: int) -> list[Line]:
    """The line with the titles of the table."""
    if not body.columns:
        return []
    titles = [(column.title, "head") for column in body.columns]
    return [row(titles, body.columns, fit(body.columns, width))]


def _order(body: Body, look: ListLook) -> Cell:
    """In words, where it is not the first one."""
    if not body.sorts or not (look.sort or look.backwards):
        return ("", "")
    return (f"by {body.sorts[look.sort]}{' (r)' if look.backwards else ''}", "odd")


def _place(body: Body, look: ListLook, room: int) -> tuple[int, int | None]:
    """The first line to show, and the selected one: it stays the same thing wherever it goes."""
    last = max(body.count - 1, 0)
    if not body.columns:  # a text has no cursor: it is moved as a whole
        look.top = look.cursor = max(min(look.top, body.count - room), 0)
        return look.top, None
    if look.selected is not None:
        found = body.find(look.selected)
        look.cursor = look.cursor if found is None else found
    cursor = look.cursor = max(min(look.cursor, last), 0)
    look.top = min(max(look.top, cursor - room + 1), cursor)
    look.top = max(min(look.top, body.count - room), 0)
    return look.top, cursor if body.count else None
