# SPDX-License-Identifier: Apache-2.0
"""The full screen itself, driven by Textual's pilot: keys, sizes, colours, the end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from tests.unit.commands import ROOT
from tests.unit.top_boards import fed, recorded, resets
from tracetw.top.app import LineView, TopApp
from tracetw.top.board import Board
from tracetw.top.page import Painter
from tracetw.top.state import SCREENS, ViewState

Drive = Callable[[Pilot[None]], Awaitable[None]]


def screen(app: TopApp) -> list[str]:
    """What is drawn."""
    view = app.query_one(LineView)
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


def driven(
    drive: Drive,
    board: Board | None = None,
    size: tuple[int, int] = (80, 24),
    *,
    live: bool = False,
) -> TopApp:
    board = recorded() if board is None else board
    board.recorded = not live
    state = ViewState(window=3)
    app = TopApp(board, state, Painter(board), lambda: True)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await drive(pilot)

    asyncio.run(run())
    return app


def test_keys_show_each_screen_and_the_help_has_them_all() -> None:
    async def drive(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, TopApp)
        for number, name in enumerate(SCREENS, 1):
            await pilot.press(str(number))
            assert screen(app)[0].startswith(f"top: {SCREENS[name]}  golden")
        await pilot.press("tab")
        assert screen(app)[0].startswith("top: closes")
        await pilot.press("question_mark")
        assert screen(app)[1] == "keys"
        await pilot.press("question_mark")
        assert screen(app)[1].startswith("VERDICT")

    driven(drive)


def test_lines_are_selected_looked_into_and_left() -> None:
    async def drive(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, TopApp)
        await pilot.press("j", "j", "k", "enter")
        assert screen(app)[1].startswith("group: ")
        await pilot.press("enter")
        assert any(line.startswith("closed first") for line in screen(app))
        await pilot.press("pagedown", "end", "G", "home", "g", "up", "down")
        await pilot.press("escape", "h")
        assert screen(app)[0].startswith("top: closes")

    driven(drive)


def test_a_filter_is_typed_and_taken_away() -> None:
    async def drive(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, TopApp)
        await pilot.press("slash", *"envoy q", "enter")
        assert screen(app)[1] == "filter: envoy q"  # q is a letter here
        await pilot.press("f", *"envx", "backspace", *"oy", "enter")
        assert screen(app)[1] == "filter: envoy"
        assert not any(line.startswith("nginx") for line in screen(app))
        await pilot.press("slash", "x", "escape")  # no answer: as it was
        assert screen(app)[1] == "filter: envoy"
        await pilot.press("slash", "x", "y", "ctrl+u", "z", "!")
        assert screen(app)[-1] == "show lines with: z!_"
        await pilot.press("escape")
        assert "? help" in screen(app)[-1]
        await pilot.press("escape")
        assert any(line.startswith("nginx") for line in screen(app))

    driven(drive)


def test_pause_and_walk() -> None:
    async def drive(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, TopApp)
        await pilot.press("minus", "minus", "minus", "space")
        assert " at " in screen(app)[0]
        await pilot.press("left")
        assert "  at 12:44:21Z  " in screen(app)[0]
        await pilot.press("right", "right")
        assert " at " not in screen(app)[0]
        await pilot.press("plus", "s", "r", "right_curly_bracket", "left_curly_bracket")

    driven(drive)


def test_every_size_and_a_resize() -> None:
    async def drive(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, TopApp)
        for size in ((80, 24), (40, 8), (20, 3), (200, 60), (39, 24), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            lines = screen(app)
            assert (len(lines), max(map(len, lines)) <= size[0]) == (size[1], True)
            if size[0] < 40:
                assert lines[0].startswith("40 columns and 8")
            else:
                assert lines[0].startswith("top: closes")

    driven(drive)


def test_only_lines_that_changed_are_drawn_again() -> None:
    board = fed(resets(1))
    drawn: list[int] = []

    async def drive(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, TopApp)
        view = app.query_one(LineView)
        before = view.render_line

        def counted(y: int) -> object:
            drawn.append(y)
            return before(y)

        view.render_line = counted  # type: ignore[method-assign,assignment]
        for _ in range(5):
            app.tick()
            await pilot.pause()
        assert drawn == []
        board.sink(board.contexts[0]).closes(resets(1))
        app.tick()
        await pilot.pause()
        assert 0 < len(set(drawn)) < 8

    driven(drive, board)


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
def test_keys_that_end_it(key: str) -> None:
    async def drive(pilot: Pilot[None]) -> None:
        await pilot.press(key)

    assert driven(drive).return_code == 0


def test_ctrl_c_ends_it_while_a_filter_is_typed_too() -> None:
    async def drive(pilot: Pilot[None]) -> None:
        await pilot.press("slash", "a", "ctrl+c")
        assert not pilot.app.is_running or pilot.app._exit

    driven(drive)


def test_a_trace_that_has_ended_ends_the_screen() -> None:
    board = recorded()
    board.recorded = False
    app = TopApp(board, ViewState(), Painter(board), lambda: False)

    async def run() -> None:
        async with app.run_test() as pilot:
            app.tick()
            await pilot.pause()
            assert app._exit

    asyncio.run(run())


def test_what_is_said_stands_on_the_screen_of_trust() -> None:
    async def drive(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, TopApp)
        print("tracetw: something \x1b[31mred", file=sys.stderr)
        await pilot.pause()
        await pilot.press("5")
        assert "tracetw: something \\x1b[31mred" in screen(app)

    driven(drive, fed())


def test_no_other_command_loads_textual() -> None:
    """It takes longer than they do."""
    code = (
        "import sys\n"
        "from tracetw.cli import main, _COMMANDS\n"
        "for name in _COMMANDS: main.get_command(None, name)\n"
        "import tracetw.top.frame, tracetw.top.feed, tracetw.top.page\n"
        "print([name for name in ('textual', 'rich') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "[]\n"
