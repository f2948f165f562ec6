# SPDX-License-Identifier: Apache-2.0
"""What the screen shows: which list, which time, in which order, by which filter, and the selected line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tracetw.top.lines import Cell, Column, Line
from tracetw.top.slots import KEPT

SCREENS = {
    "closes": "closes",
    "failing": "failing",
    "timewait": "TIME_WAIT",
    "story": "story",
    "trust": "trust",
}
"""Name of each screen to its title, in the order of their keys."""

WINDOWS = (10, 60, 600, KEPT)
"""Stretches of time that the screen can sum up."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a screen shows below its first line.

    Attributes:
        head: lines that stay.
        columns: of the table; none: each cell is a line of text.
        count: lines of the table.
        cells: of one line.
        item: what a line is about; the same number wherever it stands.
        find: the line of such a number; None when it has gone.
        sorts: names of its orders, the first one first.
        empty: what to say without any line.
    """

    head: Sequence[Line]
    columns: Sequence[Column]
    count: int
    cells: Callable[[int], Sequence[Cell]]
    item: Callable[[int], int] = lambda at: at
    find: Callable[[int], int | None] = lambda item: item
    sorts: Sequence[str] = ()
    empty: str = ""


@dataclass(slots=True)
class ListLook:
    """How the screen shows one list.

    Attributes:
        selected: item of the selected line; None: the first line, whatever it is.
        cursor: where that was.
        top: the first line that is shown.
        sort: number of its order.
        backwards: the other way round.
    """

    selected: int | None = None
    cursor: int = 0
    top: int = 0
    sort: int = 0
    backwards: bool = False


@dataclass(slots=True)
class ViewState:
    """What the screen shows.

    Attributes:
        screen: one of ``SCREENS``.
        at: the last stretch of time shown; None: the newest.
        window: number of ``WINDOWS``.
        filter: words that a line must contain.
        group: mark of the group whose connections are shown; None: all.
        connection: number of the connection whose story is shown; None: a list of them.
        help: show the keys.
        looks: by list.
    """

    screen: str = "closes"
    at: int | None = None
    window: int = 1
    filter: str = ""
    group: int | None = None
    connection: int | None = None
    help: bool = False
    looks: dict[str, ListLook] = field(default_factory=dict)

    @property
    def list_name(self) -> str:
        """Which list is shown."""
        if self.help:
            return "help"
        if self.screen != "story":
            return self.screen
        return "connections" if self.connection is None else "story"

    @property
    def look(self) -> ListLook:
        """How that list is shown."""
        return self.looks.setdefault(self.list_name, ListLook())

    @property
    def stretches(self) -> int:
        """How many stretches of time the screen sums up."""
        return WINDOWS[self.window]


def fits(text: str, words: str) -> bool:
    """Whether a text has each word of a filter, in either case, and none that follows a ``!``."""
    text = text.lower()
    return all(
        (word[1:] not in text) if word[0] == "!" else word in text for word in words.lower().split()
    )
