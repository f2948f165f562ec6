# SPDX-License-Identifier: Apache-2.0
"""The pages of the full screen: what stands on them, in any size, whatever names there are."""

from __future__ import annotations

import itertools
import re
import time

import numpy as np
import pytest

from tests.unit.hostile_names import HOSTILE
from tests.unit.sink_rows import closes
from tests.unit.top_boards import HERE, START_NS, fed, page, recorded, reset_at, resets, shown
from tracetw.stream.batch import Loss
from tracetw.text import columns, visible
from tracetw.top.board import SECOND, Board
from tracetw.top.keys import KEYS, hints
from tracetw.top.lines import Column, fit, plain, row, sparkline, whole
from tracetw.top.moves import Moves
from tracetw.top.page import LEAST, Painter
from tracetw.top.span import newest
from tracetw.top.state import SCREENS, ViewState

FIRST = START_NS // SECOND
SIZES = ((80, 24), LEAST, (40, 50), (200, 60), (79, 23), (500, 9))


def states(board: Board) -> list[ViewState]:
    """One for each thing that can be looked at."""
    made = [ViewState(screen=name, window=3) for name in SCREENS]
    made.append(ViewState(window=3, help=True))
    made.append(ViewState(window=3, filter="reset"))
    made.append(ViewState(screen="story", window=3, connection=0))
    made.append(ViewState(screen="story", window=3, connection=10**9))
    marks = board.groups.between(0, board.slots.newest)["mark"].tolist()
    made += [ViewState(screen="story", window=3, group=mark) for mark in marks[:1]]
    return made


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_page_fits_its_size(size: tuple[int, int]) -> None:
    board = recorded()
    for state in states(board):
        lines = page(board, state, size).lines
        assert len(lines) == size[1]
        assert all(sum(columns(text) for text, _ in line) <= size[0] for line in lines)


def test_verdicts_and_groups() -> None:
    lines = shown(recorded())
    assert lines[0].startswith("top: closes  golden  recording  ")
    assert lines[0].endswith("150 ends  lost 0")
    assert re.search(r"^orderly +130 +65\.0 +86\.7%", "\n".join(lines), re.MULTILINE)
    assert re.search(
        r"^envoy +abort-linger +\[2001:db8::1\] to:8443 +2 ", "\n".join(lines), re.MULTILINE
    )
    assert lines[-1].startswith("1 closes  ")
    assert lines[-1].endswith("q end")


def test_the_order_is_what_was_asked_for_and_the_same_each_time() -> None:
    board = recorded()
    state = ViewState(window=3)
    moves = Moves(state, board)
    first = page(board, state)
    counts = [int(plain_cells(first, at)[3]) for at in range(first.body.count)]
    assert counts == sorted(counts, reverse=True)
    assert shown(board, state) == shown(board, state)
    moves.page = first
    moves.sort()
    moves.sort()
    owners = [plain_cells(page(board, state), at)[0] for at in range(first.body.count)]
    assert owners == sorted(owners)
    moves.turn()
    owners = [plain_cells(page(board, state), at)[0] for at in range(first.body.count)]
    assert owners == sorted(owners, reverse=True)
    assert shown(board, state)[0].endswith("  by owner (r)")


def plain_cells(found: object, at: int) -> list[str]:
    return [text for text, _ in found.body.cells(at)]  # type: ignore[attr-defined]


def test_what_is_selected_stays_selected_wherever_it_goes() -> None:
    board = fed(resets(1, comm=b"first"), resets(1, 1, comm=b"second"))
    state, painter = ViewState(window=3), Painter(board)
    moves = Moves(state, board)
    moves.move(1)
    before = painter.page(state, 80, 24)
    moves.painted(before)
    assert "first" in plain(before.lines[before.selected or 0])
    board.sink(board.contexts[0]).closes(resets(2, 2, 2, comm=b"first"))
    after = painter.page(state, 80, 24)
    assert "first" in plain(after.lines[after.selected or 0])
    assert after.selected == (before.selected or 0) - 1


def test_the_first_line_is_whatever_comes_first() -> None:
    board = fed(resets(1, 1, comm=b"first"))
    state, painter = ViewState(window=3), Painter(board)
    moves = Moves(state, board)
    moves.painted(painter.page(state, 80, 24))
    board.sink(board.contexts[0]).closes(resets(2, 2, 2, comm=b"other"))
    now = painter.page(state, 80, 24)
    assert "other" in plain(now.lines[now.selected or 0])


def test_filter_with_and_without() -> None:
    board = fed(resets(1, comm=b"nginx"), resets(1, comm=b"redis"), resets(1, comm=b"redis-cli"))

    def owners(words: str) -> set[str]:
        found = page(board, ViewState(window=3, filter=words))
        return {plain_cells(found, at)[0] for at in range(found.body.count)}

    assert owners("redis") == {"redis", "redis-cli"}
    assert owners("REDIS !cli") == {"redis"}
    assert owners("redis peer-reset 10.0.0.2") == {"redis", "redis-cli"}
    assert owners("!peer-reset") == set()
    assert "fits the filter" in "\n".join(shown(board, ViewState(window=3, filter="!peer-reset")))
    connections = page(board, ViewState(screen="story", window=3, filter="cli"))
    assert connections.body.count == 1


def test_walking_back_shows_what_was_then() -> None:
    board = fed(resets(1, 2, 2, 30, comm=b"then"), resets(3000, comm=b"now"))
    state = ViewState(window=0)
    moves = Moves(state, board)
    assert "now" in "\n".join(shown(board, state))
    assert "then" not in "\n".join(shown(board, state))
    state.at = FIRST + 5
    lines = shown(board, state)
    assert " at 03:04:11Z" in lines[0]
    assert "3 ends" in lines[0]
    assert any(re.match(r"then .* 3 ", line) for line in lines)
    moves.walk(-(10**9))
    assert state.at == FIRST + 1
    moves.walk(10**9)
    steps: list[int | None] = [state.at]
    for _ in range(2):
        moves.pause()
        steps.append(state.at)
    assert steps == [None, FIRST + 3000, None]
    moves.walk(-2970)
    state.screen = "story"
    assert [line for line in shown(board, state) if "then/" in line]


def test_zoom_from_a_group_to_its_connections_to_a_story_and_back() -> None:
    board = recorded()
    state, painter = ViewState(window=3), Painter(board)
    moves = Moves(state, board)
    moves.page = painter.page(state, 80, 24)
    moves.zoom()
    lines = shown_by(painter, state)
    assert lines[1] == "group: envoy abort-linger [2001:db8::1] to:8443"
    assert sum("abort-linger" in line for line in lines[3:]) == 2
    moves.page = painter.page(state, 80, 24)
    moves.zoom()
    story = "\n".join(shown_by(painter, state, 200))
    assert "abort-linger  [2001:db8::1]:8443 - " in story
    assert "SO_LINGER 0" in story
    assert "<-SYN" in story
    assert "linger-zero" in story
    assert "What it means" in story
    assert "Do now" in story
    moves.back()
    assert state.connection is None
    moves.back()
    assert state.screen == "closes"
    assert state.group is None


def shown_by(painter: Painter, state: ViewState, height: int = 24) -> list[str]:
    return [plain(line) for line in painter.page(state, 100, height).lines]


def test_a_story_is_scrolled_to_its_end_and_no_further() -> None:
    board = recorded()
    state = ViewState(screen="story", window=3, connection=0)
    moves = Moves(state, board)
    moves.page = page(board, state)
    moves.jump(1)
    end = shown(board, state)
    moves.move(100)
    assert shown(board, state) == end
    moves.page = page(board, state)
    moves.jump(0)
    assert shown(board, state)[1].startswith("orderly")


def test_what_is_no_longer_kept_is_said() -> None:
    board = recorded()
    assert "no longer kept" in shown(board, ViewState(screen="story", connection=10**6))[1]
    board.abnormal.since_ns = board.slots.newest * SECOND
    assert "not all of before" in shown(board, ViewState(screen="story", window=3))[1]
    board.groups.since = board.slots.newest + 1
    assert any("no longer kept" in line for line in shown(board))


def test_now_is_when_the_trace_ended() -> None:
    """Not when its last connection did: the screen after --duration is of that time."""
    board = Board(utc=True)
    board.sink(HERE).closes(resets(1))
    assert newest(board) >= time.time_ns() // SECOND - 1
    board.end()
    ended = newest(board)
    assert ended == board.ended_ns // SECOND
    assert board.slots.newest < ended
    board.ended_ns -= 100 * SECOND
    assert newest(board) == ended - 100
    over = recorded()
    assert newest(over) == over.slots.newest


def test_trust_says_what_was_lost_and_what_the_counters_say() -> None:
    board = recorded()
    text = "\n".join(shown(board, ViewState(screen="trust"), (100, 40)))
    assert "150 connections reported, lost: nothing" in text
    assert "8 hooks attached" in text
    assert re.search(r"^EstabResets +0 +13 +-13  in namespaces", text, re.MULTILINE)
    assert "kernel counters agree" in text
    lossy = fed(resets(1))
    lossy.sink(lossy.contexts[0]).loss(Loss(7, "ring buffer full", START_NS, START_NS))
    lossy.say("something\nwas\x1b[31m said")
    text = "\n".join(shown(lossy, ViewState(screen="trust")))
    assert "lost: 7 records" in text
    assert "7 records lost between" in text
    assert "lost 7" in text
    assert "\\x1b[31m said" in text


def test_hostile_names_are_shown_and_never_obeyed() -> None:
    for name in HOSTILE:
        board = fed(resets(1, comm=name[:15]))
        for screen in SCREENS:
            lines = shown(board, ViewState(screen=screen, window=3), (120, 24))
            assert all(line == visible(line) for line in lines)
        story = shown(board, ViewState(screen="story", window=3, connection=0), (120, 200))
        assert all(line == visible(line) for line in story)


def test_ascii_alone_where_nothing_else_is_shown() -> None:
    board = fed(resets(1, comm="中中é".encode(), remote="2001:db8:1:2:3:4:5:6", family=10))
    for state in (ViewState(window=3), ViewState(window=3, screen="story")):
        lines = [plain(line) for line in Painter(board, utf8=False).page(state, 80, 24).lines]
        assert all(line.isascii() for line in lines)
        assert any("?????" in line for line in lines)
        utf8 = shown(board, state)
        assert [columns(line) for line in utf8] == [*map(len, lines)]


def test_nothing_ended() -> None:
    board = fed()
    assert "nothing to show in this time" in "\n".join(shown(board))
    for screen in SCREENS:
        assert shown(board, ViewState(screen=screen))
    empty = Board(utc=True)  # nothing is attached yet
    assert shown(empty)


def test_more_verdicts_than_lines_are_one_line() -> None:
    board = fed(closes(*(reset_at(1, verdict=code) for code in ("orderly", "abort-unread"))))
    extra = closes(
        *(reset_at(1, verdict=code) for code in ("abort-linger", "peer-lost-state", "unreachable"))
    )
    board.sink(board.contexts[0]).closes(extra)
    lines = shown(board, None, (80, 12))
    assert any(line.startswith("2 more verdicts ") for line in lines)


def test_sparklines() -> None:
    counts = np.array([0, 1, 2, 4, 8])
    assert sparkline(counts, 5, utf8=True) == " ▁▂▄█"
    assert sparkline(counts, 8, utf8=True) == "    ▁▂▄█"
    assert sparkline(counts, 3, utf8=False) == ":=#"
    assert sparkline(np.zeros(4, np.int64), 4, utf8=True) == "    "
    assert sparkline(counts, 0, utf8=True) == ""
    # Only nothing is a space, however high the highest is.
    assert sparkline(np.array([1, 10**9]), 2, utf8=True) == "▁█"


def test_columns_are_left_out_where_there_is_no_room() -> None:
    wanted = (Column("a", 4), Column("b", 4, 10, keep=2), Column("c", 4, keep=1))
    assert fit(wanted, 30) == [4, 10, 4]
    assert fit(wanted, 14) == [4, 4, 4]
    assert fit(wanted, 13) == [4, 0, 4]
    assert fit(wanted, 8) == [4, 0, 0]
    assert fit(wanted, 3) == [3, 0, 0]
    cells = [("abcdef", ""), ("x", ""), ("y", "")]
    assert plain(row(cells, wanted, fit(wanted, 14))) == "abc… x    y"
    assert plain(whole(tuple(cells), 7)) == "abcdefx"


def test_the_end_and_the_help_are_always_in_the_last_line() -> None:
    for width in (40, 60, 80, 200):
        text = plain(hints(width))
        assert text.endswith("? help  q end")
        assert len(text) <= width


def test_no_key_does_two_things() -> None:
    names = [*itertools.chain.from_iterable(key.keys.split(",") for key in KEYS)]
    assert len(names) == len(set(names))
    lines = shown(fed(), ViewState(help=True), (80, 60))
    assert all(any(key.text in line for line in lines) for key in KEYS)
