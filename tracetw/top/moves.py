# SPDX-License-Identifier: Apache-2.0
"""How each key changes what the screen shows; works without a screen."""

from __future__ import annotations

from tracetw.top.board import Board
from tracetw.top.page import Page
from tracetw.top.span import newest
from tracetw.top.state import SCREENS, WINDOWS, ListLook, ViewState

_LONGEST = 200


class Moves:
    """Changes a state.

    Args:
        state: what the screen shows.
        board: what there is to see.

    ``page`` is what is shown, None as long as there is no room for any.
    """

    def __init__(self, state: ViewState, board: Board) -> None:
        self._state = state
        self._board = board
        self.page: Page | None = None

    def show(self, name: str) -> None:
        """Another screen; the same one again goes back to its list."""
        state = self._state
        if state.screen == name and not state.help:
            state.group = state.connection = None
        state.help = False
        state.screen = name

    def next_screen(self) -> None:
        """The one after this."""
        names = [*SCREENS]
        self.show(names[(names.index(self._state.screen) + 1) % len(names)])

    def move(self, lines: int) -> None:
        """Select another line, or move the text."""
        look = self._state.look
        look.cursor = max(look.cursor + lines, 0)
        look.selected = None

    def move_pages(self, pages: int) -> None:
        """Select a line so many pages away."""
        if self.page is not None:
            self.move(pages * max(self.page.room - 1, 1))

    def jump(self, end: int) -> None:
        """To the first line, or the last."""
        if self.page is not None:
            look = self._state.look
            look.cursor = self.page.body.count * end
            look.selected = None

    def painted(self, page: Page) -> None:
        """Remember what is selected: it stays so wherever it goes. The first line is whatever comes."""
        self.page = page
        look = self._state.look
        look.selected = page.item if look.cursor else None

    def zoom(self) -> None:
        """Look into the selected line."""
        state, page = self._state, self.page
        if state.help or page is None or page.item is None:
            return
        if state.screen == "closes":
            state.screen, state.group, state.connection = "story", page.item, None
            state.looks["connections"] = ListLook()
        elif state.list_name == "connections":
            state.connection = page.item
            state.looks["story"] = ListLook()

    def back(self) -> None:
        """Leave what was looked into last."""
        state = self._state
        if state.help:
            state.help = False
        elif state.screen == "story" and state.connection is not None:
            state.connection = None
        elif state.screen == "story" and state.group is not None:
            state.screen, state.group = "closes", None
        elif state.filter:
            state.filter = ""
        else:
            state.at = None

    def ask(self, words: str) -> None:
        """Another filter."""
        self._state.filter = " ".join(words.split())[:_LONGEST]

    def sort(self) -> None:
        """The next order."""
        if self.page is not None and self.page.body.sorts:
            look = self._state.look
            look.sort = (look.sort + 1) % len(self.page.body.sorts)
            look.selected, look.cursor = None, 0

    def turn(self) -> None:
        """The order backwards."""
        look = self._state.look
        look.backwards = not look.backwards
        look.selected, look.cursor = None, 0

    def pause(self) -> None:
        """Stand still, or go on."""
        state = self._state
        state.at = newest(self._board) if state.at is None else None

    def walk(self, steps: int) -> None:
        """To another time; beyond the newest it goes on by itself."""
        state, now = self._state, newest(self._board)
        at = (now if state.at is None else state.at) + steps
        state.at = None if at > now else max(at, min(self._board.slots.first, now))

    def widen(self, more: int) -> None:
        """More or less time together."""
        self._state.window = min(max(self._state.window + more, 0), len(WINDOWS) - 1)

    def help(self) -> None:
        """The keys, or no more."""
        self._state.help = not self._state.help
