# SPDX-License-Identifier: Apache-2.0
"""The screens of what fails and what waits now, without a kernel: rows in, lines out."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from tests.unit.top_boards import START_NS, fed, page, recorded, resets, shown
from tracetw.event.fields import State as TcpState
from tracetw.host import netlink
from tracetw.host.sockinfo import Info
from tracetw.top.board import SECOND, Board
from tracetw.top.failing import now_rows, rows_body
from tracetw.top.failing_now import Failing
from tracetw.top.host import HostLooks
from tracetw.top.lines import plain
from tracetw.top.page import Painter
from tracetw.top.poller import Poller
from tracetw.top.state import ListLook, ViewState
from tracetw.top.waiting import WaitingLook, WaitingRow, waiting_body
from tracetw.verdict.wheel import Wait

FIRST = START_NS // SECOND
INFO = Info(0, TcpState.ESTABLISHED, 1, 4, 1250, 77, 100, 4, 0, 4, 3.2)


def failing(item: int, left: Wait | None, **more: Any) -> Failing:
    values = {"owner": "curl/12", "info": INFO, "what": "retransmits", **more}
    return Failing(item, 1, ("10.0.0.1", 4000 + item), ("10.0.0.2", 80), left=left, **values)


def lines(found: list[Failing], state: ViewState | None = None) -> list[str]:
    body = rows_body(now_rows(found), state or ViewState(screen="failing"), (), "nothing fails now")
    return [" ".join(text for text, _ in body.cells(at)) for at in range(body.count)]


def test_those_that_are_given_up_soonest_stand_first() -> None:
    found = [
        failing(1, Wait(math.inf, math.inf), what="no FIN of peer"),
        failing(2, Wait(100, 101)),
        failing(3, None),
        failing(4, Wait(4, 4.2)),
        failing(5, Wait(20, 40)),
        failing(6, Wait(100, 200)),
    ]
    assert [line.split()[-2] for line in lines(found)] == [
        "4.0s",
        "20-40s",
        "1m40s",
        "1m40s-3m20s",
        "never",
        "unknown",
    ]
    state = ViewState(screen="failing", looks={"failing": ListLook(sort=0, backwards=True)})
    assert "unknown" in lines(found, state)[0]
    assert lines(found, ViewState(screen="failing", filter="!retransmits")) == [
        "10.0.0.2:80 ESTABLISHED no FIN of peer 4 1.2s never curl/12"
    ]


def test_the_poller_looks_only_while_somebody_does() -> None:
    board = Board()
    looks: list[float] = []

    def look() -> int:
        looks.append(time.monotonic())
        return len(looks)

    poller = Poller(board, look, 0.01)
    assert poller.seen(None) is None
    time.sleep(0.05)
    assert not looks
    poller.want(wanted=True)
    deadline = time.monotonic() + 10
    while len(looks) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    poller.want(wanted=False)
    time.sleep(0.1)
    count = len(looks)
    time.sleep(0.1)
    assert len(looks) == count
    last = poller.seen(None)
    assert last is not None
    assert last.what == count
    assert poller.seen(last.at_s - 10_000) is None
    assert poller.seen(last.at_s) is not None


def test_a_look_that_fails_says_why() -> None:
    board = Board()

    def look() -> list[Failing]:
        raise OSError(2, "", netlink.NAME)

    host = HostLooks(board, 1)
    host.failing = Poller(board, look, 1)
    host.failing.once()
    found = [
        plain(line) for line in Painter(board, host).page(ViewState(screen="failing"), 80, 24).lines
    ]
    assert "the kernel does not list TCP sockets: No such file or directory" in found


def test_a_recording_shows_what_was_failing_then() -> None:
    """Given up at second 100 after 60 s without an answer: at second 70 there were 30 left."""
    batch = resets(100, verdict="retransmit-exhausted", limit_elapsed_ms=60_000, comm=b"sync")
    other = resets(300)
    board = fed(batch, other)
    state = ViewState(screen="failing", at=FIRST + 69)
    found = shown(board, state)
    assert any("retransmit-ex" in line and " 30s " in line and "sync" in line for line in found)
    for second in (20, 101, 290):
        state.at = FIRST + second
        assert not any("retransmit-ex" in line for line in shown(board, state))


def test_a_recording_shows_who_left_a_time_wait() -> None:
    board = recorded()
    found = page(board, ViewState(screen="timewait", window=3))
    assert found.body.count == 4
    rows = [[text for text, _ in found.body.cells(at)] for at in range(4)]
    assert sum(int(row[2]) for row in rows) == 65
    assert rows[0][0] == "nginx/19183"
    # A minute later all of them are gone.
    state = ViewState(screen="timewait", window=3, at=board.slots.newest + 61)
    assert page(board, state).body.count == 0


def test_waiting_rows_and_forecasts() -> None:
    seen = WaitingLook(
        [
            WaitingRow("nginx/1", "web", 1200, 3, 0, 42.0),
            WaitingRow("unknown", "web", 7, 0, 1, math.nan),
        ],
        [("10.0.0.1 to 10.0.0.2:80: 5 of 28,232 ports free, runs out in 2.0s", 2.0)] * 20,
        2,
    )
    body = waiting_body(seen, ViewState(screen="timewait"), 24, "", live=True)
    text = [plain(line) for line in body.head]
    assert text[0] == "TIME_WAIT 1,207   FIN_WAIT2 3"
    assert text[1] == "2 namespaces could not be read"
    assert "runs out in 2.0s" in text[2]
    assert text[-2] == "and 14 destinations more"
    assert [cell for cell, _ in body.cells(0)] == ["nginx/1", "web", "1,200", "3", "0", "42.0s"]
    assert [cell for cell, _ in body.cells(1)][-1] == "-"
    for sort in range(3):
        state = ViewState(screen="timewait", looks={"timewait": ListLook(sort=sort)})
        assert waiting_body(seen, state, 24, "", live=True).count == 2
    only = ViewState(screen="timewait", filter="nginx")
    assert waiting_body(seen, only, 24, "", live=True).count == 1


def test_carriers_are_bounded() -> None:
    board = recorded()
    (piece, *_) = board.carriers
    assert len(piece) == 65
    context = board.contexts[0]
    sink = board.sink(context)
    for _ in range(2100):
        for one in board.ordinary.pieces()[:1]:
            sink.closes(one.closes)
    assert sum(map(len, board.carriers)) <= 1 << 16
    assert np.all(np.diff([len(part) for part in board.carriers][:3]) < 1 << 10)
