# SPDX-License-Identifier: Apache-2.0
"""How long the kernel waits before it gives a connection up, in seconds, computed from the settings.

Each function follows one function of net/ipv4/tcp_timer.c, timer by timer: no limit is simply a sum of
retransmission timeouts. What is compared with the limit (``_model``) is the time since the *first
retransmission*, and only when a timer fires: a connection outlives its limit, by up to the last timeout,
which is as long as all before it. Numbers in, numbers out: nothing here reads the host.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from tracetw.verdict.wheel import TimerRun, Wait, span

__all__ = [
    "ORPHAN_RETRIES",
    "RTO_MAX_S",
    "RTO_MIN_S",
    "TIME_WAIT_S",
    "Since",
    "TimerClock",
    "Wait",
    "data",
    "data_left",
    "fin_wait2",
    "first_rto",
    "keepalive",
    "limit",
    "orphan",
    "orphan_left",
    "orphan_window",
    "syn",
    "syn_ack",
    "window",
]

RTO_MIN_S = 0.2
"""TCP_RTO_MIN: the first timeout of the limits, whatever ``tcp_rto_min_us`` or the route says."""
RTO_MAX_S = 120.0
"""TCP_RTO_MAX: the longest timeout where neither tcp_rto_max_ms nor TCP_RTO_MAX_MS is lower."""
TIME_WAIT_S = 60.0
"""TCP_TIMEWAIT_LEN, which no setting changes."""
ORPHAN_RETRIES = 8
"""What a tcp_orphan_retries of 0 means while the timeout is below its maximum (tcp_orphan_retries)."""

_SYN_RTO_S = 1.0  # TCP_TIMEOUT_INIT
_MOST_TIMERS, _MOST_DOUBLED = 1_000, 64


@dataclass(frozen=True, slots=True)
class TimerClock:
    """What all timers of a connection depend on.

    Attributes:
        rto_s: the retransmission timeout with which it begins, or has now; see :func:`first_rto`.
        rto_max_s: longest: TCP_RTO_MAX_MS of the socket, else tcp_rto_max_ms, else :data:`RTO_MAX_S`.
        hz: CONFIG_HZ, with which timers are late by up to an eighth. None: they fire on time.
        loss_probe: whether a probe (TLP) goes before the first retransmission of a single segment
            (tcp_schedule_loss_probe: with SACK, tcp_early_retrans not 0). It costs one more timeout.
    """

    rto_s: float = RTO_MIN_S
    rto_max_s: float = RTO_MAX_S
    hz: int | None = None
    loss_probe: bool = True


class Since(NamedTuple):
    """Where a connection that retransmits is now.

    Attributes:
        first_s: time since its first retransmission.
        timer_s: when its timer fires. None: a retransmission has just gone out, and ``TimerClock.rto_s`` is the
            timeout that led to it, not yet doubled.
    """

    first_s: float = 0.0
    timer_s: float | None = None


class _Limit(NamedTuple):
    """``dead_s`` holds once the timeout is the longest that there is, before that ``alive_s``."""

    alive_s: float
    dead_s: float
    user_timeout_s: float


_FIRST = Since()


def first_rto(rto_min_s: float = RTO_MIN_S, srtt_s: float = 0.0, hz: int | None = None) -> float:
    """The timeout of a steady path: its variance is below the minimum (tcp_rtt_estimator, __tcp_set_rto).

    ``rto_min_s`` is the ``rto_min`` of the route, else tcp_rto_min_us, else :data:`RTO_MIN_S`. With ``hz``
    in whole jiffies, the next above: no path is without delay.
    """
    rto = rto_min_s + srtt_s
    return rto if hz is None else (math.floor(rto * hz + 1e-6) + 1) / hz


def limit(retries: int, rto_max_s: float = RTO_MAX_S, rto_s: float = RTO_MIN_S) -> float:
    """The limit that ``retries`` stand for: as many timeouts and one, doubled (tcp_model_timeout).

    The kernel gives up no earlier than that after the first retransmission. RFC 1122 calls it R2.
    """
    doubled = min(retries, int(math.log2(max(rto_max_s / rto_s, 1.0) + 1e-9)))
    return ((2 << doubled) - 1) * rto_s + (retries - doubled) * rto_max_s


def data(clock: TimerClock, retries2: int, user_timeout_s: float = 0.0) -> Wait:
    """From sending data that nobody acknowledges to ETIMEDOUT.

    tcp_retransmit_timer, tcp_write_timeout, retransmits_timed_out. A ``user_timeout_s`` that is not 0
    replaces the retries and cuts the last timeout short (tcp_clamp_rto_to_user_timeout).
    """

    def play(run: TimerRun) -> None:
        _first_retransmission(run, clock)
        _retransmit(run, clock, _data_limit(clock, retries2, user_timeout_s), _FIRST)

    return span(clock.hz, play)


def data_left(clock: TimerClock, since: Since, retries2: int, user_timeout_s: float = 0.0) -> Wait:
    """As :func:`data`, for a connection that has retransmitted; ``clock.rto_s`` is its timeout now."""
    bound = _data_limit(clock, retries2, user_timeout_s)
    return span(clock.hz, lambda run: _retransmit(run, clock, bound, since))


def orphan(clock: TimerClock, orphan_retries: int, user_timeout_s: float = 0.0) -> Wait:
    """From close() to the end of a socket whose FIN, or data before it, nobody acknowledges.

    Also LAST_ACK and CLOSING (tcp_write_timeout, tcp_orphan_retries). With a setting of 0 the socket has
    8 retries only until the timeout reaches its maximum, then none: a low tcp_rto_max_ms ends it early.
    """

    def play(run: TimerRun) -> None:
        _first_retransmission(run, clock)
        _retransmit(run, clock, _orphan_limit(clock, orphan_retries, user_timeout_s), _FIRST)

    return span(clock.hz, play)


def orphan_left(
    clock: TimerClock, since: Since, orphan_retries: int, user_timeout_s: float = 0.0
) -> Wait:
    """As :func:`orphan`, for a socket that has retransmitted; ``clock.rto_s`` is its timeout now."""
    bound = _orphan_limit(clock, orphan_retries, user_timeout_s)
    return span(clock.hz, lambda run: _retransmit(run, clock, bound, since))


def _data_limit(clock: TimerClock, retries2: int, user_timeout_s: float) -> _Limit:
    both = user_timeout_s or limit(retries2, clock.rto_max_s)
    return _Limit(both, both, user_timeout_s)


def _orphan_limit(clock: TimerClock, orphan_retries: int, user_timeout_s: float) -> _Limit:
    alive = user_timeout_s or limit(orphan_retries or ORPHAN_RETRIES, clock.rto_max_s)
    return _Limit(alive, user_timeout_s or limit(orphan_retries, clock.rto_max_s), user_timeout_s)


def _first_retransmission(run: TimerRun, clock: TimerClock) -> None:
    for _ in range(2 if clock.loss_probe else 1):
        run.sleep(clock.rto_s)


def _retransmit(run: TimerRun, clock: TimerClock, bound: _Limit, since: Since) -> None:
    """Timer after timer, until the time since the first retransmission reaches the limit."""
    rto, first = clock.rto_s, run.now_s - since.first_s
    timer = since.timer_s
    for _ in range(_MOST_TIMERS):
        if timer is None:
            rto = min(rto * 2, clock.rto_max_s)
            left = max(bound.user_timeout_s - (run.now_s - first), 0.0)
            run.sleep(min(rto, left) if bound.user_timeout_s else rto)
        else:
            run.until(timer)
            timer = None
        if run.now_s - first >= (bound.alive_s if rto < clock.rto_max_s else bound.dead_s):
            return


def syn(clock: TimerClock, retries: int, linear: int = 0, user_timeout_s: float = 0.0) -> Wait:
    """From connect() to ETIMEDOUT, where nothing answers the SYN.

    The first ``linear`` timeouts (tcp_syn_linear_timeouts; 0 where the kernel has none) are not doubled and
    are added to the retries, but the limit in seconds, here since the first SYN (tcp_connect), is that of
    the retries alone (tcp_write_timeout): the first of both ends it, so to few retries they add nothing.
    ``retries``: TCP_SYNCNT of the socket, else tcp_syn_retries.
    """
    bound = user_timeout_s or limit(retries, clock.rto_max_s, _SYN_RTO_S)

    def play(run: TimerRun) -> None:
        rto = min(_SYN_RTO_S, clock.rto_max_s)
        run.sleep(rto)
        for sent in range(1, _MOST_TIMERS):
            if sent > linear:
                rto = min(rto * 2, clock.rto_max_s)
            left = max(user_timeout_s - run.now_s, 0.0)
            run.sleep(min(rto, left) if user_timeout_s else rto)
            if sent >= retries + linear or run.now_s >= bound:
                return

    return span(clock.hz, play)


def syn_ack(clock: TimerClock, retries: int, *, capped: bool = False) -> Wait:
    """From a SYN to the end of the request whose SYN+ACK nobody acknowledges.

    reqsk_timer_handler, tcp_reqsk_timeout. At most: where more than half of the backlog waits, old
    requests get fewer retries. ``capped``: whether this kernel lets tcp_rto_max_ms limit these timeouts
    too (tcp_reqsk_timeout with tcp_rto_max, late in 2025); nothing in BTF tells.
    """
    longest = clock.rto_max_s if capped else RTO_MAX_S

    def play(run: TimerRun) -> None:
        for sent in range(min(retries + 1, _MOST_TIMERS)):
            run.sleep(_doubled(_SYN_RTO_S, sent, longest))

    return span(clock.hz, play)


def window(clock: TimerClock, retries2: int, user_timeout_s: float = 0.0, *, answers: bool) -> Wait:
    """From the close of the peer's window to ETIMEDOUT, with data that must wait (tcp_probe_timer).

    Infinite while the peer ``answers`` the probes, unless there is a ``user_timeout_s``, which begins
    with the first probe. At most: probes that went out before the peer fell silent have made the timeout
    longer, and count only if they were not answered.
    """

    def play(run: TimerRun) -> None:
        run.sleep(_probe(clock, 0))
        if user_timeout_s or answers:
            run.sleep(user_timeout_s or math.inf)
            return
        for sent in range(1, min(retries2 + 1, _MOST_TIMERS)):
            run.sleep(_probe(clock, sent))

    return span(clock.hz, play)


def orphan_window(clock: TimerClock, orphan_retries: int, *, answers: bool) -> Wait:
    """From close() to the end of an orphan whose data the peer's window keeps here (tcp_probe_timer).

    A peer that ``answers`` keeps the number of unanswered probes at 0: then only the doubled timeout
    counts, once it would be the longest. At most: probes before the close() have doubled it already.
    """

    def play(run: TimerRun) -> None:
        for sent in range(_MOST_TIMERS):
            run.sleep(_probe(clock, sent))
            alive = _doubled(clock.rto_s, sent, math.inf) < clock.rto_max_s
            retries = orphan_retries or (ORPHAN_RETRIES if alive else 0)
            if sent >= retries and not (alive and answers):
                return

    return span(clock.hz, play)


def _probe(clock: TimerClock, sent: int) -> float:
    """Wait before the next window probe (tcp_probe0_base, tcp_probe0_when)."""
    return _doubled(max(clock.rto_s, RTO_MIN_S), sent, clock.rto_max_s)


def _doubled(first_s: float, times: int, longest_s: float) -> float:
    return min(math.ldexp(first_s, min(times, _MOST_DOUBLED)), longest_s)


def keepalive(
    clock: TimerClock, time_s: float, interval_s: float, probes: int, user_timeout_s: float = 0.0
) -> Wait:
    """From the last segment of a silent peer to ETIMEDOUT, on an idle connection with SO_KEEPALIVE.

    tcp_keepalive_timer. A ``user_timeout_s`` replaces the number of probes; at least one is sent. It
    does not run while anything is unacknowledged or unsent: then :func:`data` or :func:`window`.
    """

    def play(run: TimerRun) -> None:
        run.sleep(time_s)
        for sent in range(1, _MOST_TIMERS):
            run.sleep(interval_s)
            if run.now_s >= user_timeout_s if user_timeout_s else sent >= probes:
                return

    return span(clock.hz, play)


def fin_wait2(clock: TimerClock, fin_timeout_s: float) -> Wait:
    """How long an orphan waits for the peer's FIN: TCP_LINGER2 of the socket, else tcp_fin_timeout.

    tcp_fin_time, tcp_rcv_state_process, tcp_keepalive_timer. At least 3.5 timeouts. Above 60 s the
    socket stays whole for the excess, and is a timewait socket for the excess once more: 62 s are 4 s.
    """
    wait = max(fin_timeout_s, 3.5 * clock.rto_s)

    def play(run: TimerRun) -> None:
        if wait > TIME_WAIT_S:
            run.sleep(wait - TIME_WAIT_S)
            run.sleep(wait - TIME_WAIT_S)
        else:
            run.sleep(wait)

    return span(clock.hz, play)
