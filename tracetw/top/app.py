# SPDX-License-Identifier: Apache-2.0
"""The full screen. The only module here that needs Textual."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.events import Key, Paste, Print
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tracetw.text import visible
from tracetw.top.board import Board
from tracetw.top.keys import KEYS
from tracetw.top.lines import Line, whole
from tracetw.top.moves import Moves
from tracetw.top.page import LEAST, Page, Painter
from tracetw.top.state import ViewState

__all__ = ["TopApp"]

_STYLES = {
    "good": Style(color="green"),
    "bad": Style(color="red"),
    "worst": Style(color="red", bold=True),
    "odd": Style(color="yellow"),
    "dim": Style(dim=True),
    "head": Style(bold=True),
    "key": Style(color="cyan", bold=True),
    "": Style(),
}
# Textual has a use of its own for these.
_ASK = ("slash", "f")
_PROMPT = "show lines with: "
_LONGEST = 200
_FIRST = {"ctrl+c", "ctrl+q", "tab"}
_SELECTED = Style(reverse=True)
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class LineView(Widget, can_focus=True):
    """Shows lines; only those that changed are drawn again."""

    DEFAULT_CSS = "LineView { width: 1fr; height: 1fr; background: ansi_default; }"

    class Sized(Message):
        """It has another size."""

    class Typed(Message):
        """The user typed a filter; ``words`` is None if Escape ended it.

        Args:
            words: them.
        """

        def __init__(self, words: str | None) -> None:
            super().__init__()
            self.words = words

    def __init__(self) -> None:
        super().__init__()
        self._lines: tuple[Line, ...] = ()
        self._selected: int | None = None
        self.typing: str | None = None

    def on_key(self, event: Key) -> None:
        """Words of a filter: every key belongs to them until Enter or Escape, also the one after ``/``."""
        if self.typing is None:
            if event.key in _ASK:
                self.ask("")
                event.stop()
            return
        event.stop()
        event.prevent_default()
        if event.key in {"enter", "escape"}:
            words, self.typing = self.typing, None
            self.post_message(self.Typed(words if event.key == "enter" else None))
            return
        if event.key in {"backspace", "ctrl+h"}:
            self.ask(self.typing[:-1])
        elif event.key == "ctrl+u":
            self.ask("")
        elif event.character is not None and event.is_printable:
            self.ask((self.typing + event.character)[:_LONGEST])

    def on_paste(self, event: Paste) -> None:
        """The same at once."""
        if self.typing is not None:
            self.ask((self.typing + event.text)[:_LONGEST])

    def ask(self, words: str) -> None:
        """Words are typed in the last line."""
        self.typing = words
        self.refresh(Region(0, self.size.height - 1, self.size.width, 1))

    def on_resize(self) -> None:
        """Say so."""
        self.post_message(self.Sized())

    def show(self, page: Page) -> None:
        """Draw what is different now."""
        lines, selected = tuple(page.lines), page.selected
        changed = {at for at in (self._selected, selected) if at is not None and at < len(lines)}
        if selected == self._selected:
            changed.clear()
        changed |= {
            at for at, line in enumerate(lines) if at >= len(self._lines) or line != self._lines[at]
        }
        self._lines, self._selected = lines, selected
        width = self.size.width
        if changed:
            self.refresh(*(Region(0, at, width, 1) for at in sorted(changed)))

    def render_line(self, y: int) -> Strip:
        """One line."""
        line = self._lines[y] if y < len(self._lines) else ()
        if self.typing is not None and y == self.size.height - 1:
            shown = visible(self.typing)[-max(self.size.width - len(_PROMPT) - 1, 1) :]
            line = whole(((_PROMPT, "key"), (shown, ""), ("_", "dim")), self.size.width)
        chosen = y == self._selected
        segments = [Segment(text, _SELECTED if chosen else _STYLES[tone]) for text, tone in line]
        strip = Strip(segments)
        return strip.adjust_cell_length(self.size.width, _SELECTED if chosen else None)


class TopApp(App[None]):
    """``tracetw top``.

    Args:
        board: what there is to see; another thread feeds it.
        state: what the screen shows first.
        painter: makes the pages.
        running: is the board still fed? When it is no more, a live screen ends.
        delay_s: between two looks at the board.
    """

    ENABLE_COMMAND_PALETTE = False
    TITLE = "tracetw top"
    CSS = """
    Screen { background: ansi_default; layout: vertical; }
    """
    BINDINGS: ClassVar = [
        Binding(name, f"press({at})", key.text, show=False, priority=name in _FIRST)
        for at, key in enumerate(KEYS)
        for name in key.keys.split(",")
    ]

    def __init__(
        self,
        board: Board,
        state: ViewState,
        painter: Painter,
        running: Callable[[], bool],
        delay_s: float = 1.0,
    ) -> None:
        super().__init__(ansi_color=True)
        self._board = board
        self._state = state
        self._painter = painter
        self._is_fed = running
        self._delay_s = delay_s
        self._moves = Moves(state, board)
        self.animation_level = "none"

    def compose(self) -> ComposeResult:
        """One widget for everything."""
        yield LineView()

    def on_mount(self) -> None:
        """Begin to look at the board."""
        self.query_one(LineView).focus()
        self.begin_capture_print(self)
        loop = asyncio.get_running_loop()
        for signum in _ENDING:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                loop.add_signal_handler(signum, self.exit)
        self.set_interval(self._delay_s, self.tick)
        self.call_after_refresh(self.paint)

    def on_print(self, event: Print) -> None:
        """What the tracer has to say stands on the screen of trust."""
        text = event.text.strip()
        if text:
            self._board.say(text)

    def on_line_view_sized(self) -> None:
        """Another size."""
        self.paint()

    def tick(self) -> None:
        """Look at the board, once in a while."""
        if not self._board.recorded and not self._is_fed():
            self.exit()
            return
        self.paint()

    def paint(self) -> None:
        """Show what there is now."""
        view = self.query_one(LineView)
        width, height = view.size
        if not width or not height:
            return
        if width < LEAST[0] or height < LEAST[1]:
            self._moves.page = None
            small = f"{LEAST[0]} columns and {LEAST[1]} lines are needed"
            view.show(too_small(small, width, height))
            return
        if self._painter.host is not None:
            self._painter.host.want(self._state)
        page = self._painter.page(self._state, width, height)
        self._moves.painted(page)
        view.show(page)

    def action_press(self, at: int) -> None:
        """Do what the key of this number in ``KEYS`` does."""
        key = KEYS[at]
        if key.action == "leave":
            self.exit()
        elif key.action == "type":
            self.query_one(LineView).ask("")
        else:
            getattr(self._moves, key.action)(*key.given)
            self.paint()

    def on_line_view_typed(self, event: LineView.Typed) -> None:
        """The words of a filter."""
        if event.words is not None:
            self._moves.ask(event.words)
        self.query_one(LineView).refresh()
        self.paint()


def too_small(text: str, width: int, height: int) -> Page:
    """A page that says only this."""
    from tracetw.top.state import Body  # noqa: PLC0415

    lines = [whole(((text, "odd"),), width), *[()] * (height - 1)]
    return Page(lines, None, None, Body((), (), 0, lambda _: ()), 0)
