# SPDX-License-Identifier: Apache-2.0
"""The looks at the sockets of this host, for the screens that show them."""

from __future__ import annotations

from tracetw.top import failing_now, waiting
from tracetw.top.board import SECOND, Board
from tracetw.top.failing import now_rows, recorded_rows, rows_body
from tracetw.top.failing_now import Failing, Owners
from tracetw.top.poller import Poller
from tracetw.top.span import span_of
from tracetw.top.state import Body, ViewState
from tracetw.top.trust import Compared
from tracetw.top.waiting import WaitingLook, waiting_body


class HostLooks:
    """Looks only while its screen is shown.

    Args:
        board: what the trace tells.
        delay_s: between two looks, at least.

    Attributes:
        failing: connections that fail now.
        waiting: what waits in TIME_WAIT.
        counters: the kernel's against what was explained so far, of the only stream that there is.
    """

    def __init__(self, board: Board, delay_s: float) -> None:
        self._board = board
        self._owners = Owners()
        self.failing: Poller[list[Failing]] = Poller(board, self._failing, delay_s)
        self.waiting: Poller[WaitingLook] = Poller(board, lambda: waiting.look(board), delay_s)
        self.counters: Poller[Compared | None] = Poller(board, self._compared, delay_s)

    def want(self, state: ViewState) -> None:
        """This is on the screen now."""
        self.failing.want(wanted=state.screen == "failing" and not state.help)
        self.waiting.want(wanted=state.screen == "timewait" and not state.help)
        self.counters.want(wanted=state.screen == "trust" and not state.help)

    def look(self, state: ViewState) -> None:
        """Take the look that this screen needs, now."""
        if state.screen == "failing":
            self.failing.once()
        elif state.screen == "timewait":
            self.waiting.once()
        elif state.screen == "trust":
            self.counters.once()

    def _compared(self) -> Compared | None:
        contexts = self._board.contexts
        so_far = contexts[0].so_far if contexts and not self._board.over else None
        return Compared(*so_far()) if so_far is not None else None

    def _failing(self) -> list[Failing]:
        contexts = self._board.contexts
        return failing_now.look(self._owners, contexts[0].names.hz if contexts else None)


def failing_body(board: Board, host: HostLooks | None, state: ViewState) -> Body:
    """Screen 2."""
    if host is None:
        head = [(("connections that ended later, when a limit ran out", "dim"),)]
        empty = "nothing was failing then that a limit ended later"
        return rows_body(recorded_rows(board, state), state, head, empty)
    seen = host.failing.seen(_at_s(board, state))
    empty = "nothing fails now" if seen else "no look at the sockets yet"
    return rows_body(now_rows(seen.what if seen else ()), state, (), host.failing.failed or empty)


def timewait_body(board: Board, host: HostLooks | None, state: ViewState, height: int) -> Body:
    """Screen 3."""
    if host is None:
        return waiting_body(waiting.recorded(board, state), state, height, "", live=False)
    seen = host.waiting.seen(_at_s(board, state))
    what = seen.what if seen else None
    return waiting_body(what, state, height, host.waiting.failed, live=True)


def _at_s(board: Board, state: ViewState) -> int | None:
    return None if state.at is None else span_of(board, state).until_ns // SECOND
