# SPDX-License-Identifier: Apache-2.0
"""When a connection that fails now is given up: what is left agrees with the whole, at every moment of it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from tracetw.event.fields import State
from tracetw.host.sockinfo import Info
from tracetw.top.given_up import KEEPALIVE, NEVER, PROBE, RETRANSMIT, TimerSettings, given_up, what
from tracetw.verdict import timers
from tracetw.verdict.timers import TimerClock

LIVE = Info(0, State.ESTABLISHED, 0, 0, 0, 77, 100, 0, 0, 0, 0.2)


def info(**values: Any) -> Info:
    return LIVE._replace(**values)


def moments(clock: TimerClock, tries: int) -> list[tuple[float, Info]]:
    """A connection without a loss probe, just after each of its retransmissions, and when that was."""
    found, now, rto = [], clock.rto_s, clock.rto_s
    for sent in range(1, tries + 1):
        rto = min(rto * 2, clock.rto_max_s)
        again = info(
            timer=RETRANSMIT,
            tries=sent,
            retransmits=sent,
            backoff=sent,
            rto_s=rto,
            expires_ms=round(rto * 1000),
        )
        found.append((now, again))
        now += rto
    return found


@pytest.mark.parametrize(
    ("retries2", "rto_max"), [*itertools.product((3, 5, 8, 15), (120.0, 1.0, 5.0))]
)
def test_retransmissions(retries2: int, rto_max: float) -> None:
    clock = TimerClock(rto_max_s=rto_max, loss_probe=False)
    whole = timers.data(clock, retries2)
    limits = TimerSettings(retries2=retries2, rto_max_s=rto_max)
    for passed, now in moments(clock, min(retries2, 5)):
        # Doubling is known only until the longest timeout is reached.
        if now.backoff <= math.log2(rto_max / 0.2):
            left = given_up(now, limits)
            assert left is not None
            assert left.typical_s + passed == pytest.approx(whole.typical_s, rel=0.1)


@pytest.mark.parametrize("hz", [100, 250, 1000])
def test_what_is_left_shrinks_with_the_timer(hz: int) -> None:
    """Also where timers are late: how late this one is has been decided."""
    limits = TimerSettings(retries2=5, hz=hz)
    _, now = moments(TimerClock(loss_probe=False), 3)[-1]
    whole = given_up(now, limits)
    assert whole is not None
    for passed in (0.4, 0.8, 1.5):
        left = given_up(now._replace(expires_ms=1600 - round(passed * 1000)), limits)
        assert left is not None
        assert left.least_s + passed <= whole.most_s + 0.3
        assert left.most_s + passed >= whole.least_s - 0.3


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_orphans(retries: int) -> None:
    clock = TimerClock(loss_probe=False)
    whole = timers.orphan(clock, retries)
    limits = TimerSettings(orphan_retries=retries)
    for state in (State.FIN_WAIT1, State.LAST_ACK, State.CLOSING):
        for passed, now in moments(clock, 2 if retries else 5):
            left = given_up(now._replace(state=state, inode=0), limits)
            assert left is not None
            if passed < whole.least_s:
                assert left.typical_s + passed == pytest.approx(whole.typical_s, rel=0.1)


def test_a_socket_that_nobody_accepted_is_no_orphan() -> None:
    (_, now), *_ = moments(TimerClock(), 1)
    limits = TimerSettings(retries2=8, orphan_retries=1)
    assert given_up(now._replace(inode=0), limits) == given_up(now, limits)


@pytest.mark.parametrize(("retries", "linear"), [(6, 4), (6, 0), (2, 4), (0, 0)])
def test_connecting(retries: int, linear: int) -> None:
    whole = timers.syn(TimerClock(), retries, linear)
    limits = TimerSettings(syn_retries=retries, syn_linear=linear)
    passed, rto = 0.0, 1.0
    for sent in range(min(retries, 3) + 1):
        if sent > linear:
            rto *= 2
        now = info(state=State.SYN_SENT, timer=RETRANSMIT, tries=sent, expires_ms=rto * 1000)
        left = given_up(now, limits)
        assert left is not None
        assert left.typical_s + passed == pytest.approx(whole.typical_s)
        passed += rto


def test_a_window_that_stays_closed() -> None:
    limits = TimerSettings(retries2=3, orphan_retries=0, rto_max_s=120)
    asked = info(timer=PROBE, expires_ms=800, backoff=2, probes=0)
    assert given_up(asked, limits) == NEVER
    # Silent from now on: 0.8 s, then 1.6 s and 3.2 s.
    left = given_up(asked._replace(probes=1, backoff=2), limits)
    assert left is not None
    assert left.least_s == pytest.approx(0.8 + 1.6 + 3.2)
    whole = timers.window(TimerClock(), 3, answers=False)
    begin = given_up(info(timer=PROBE, expires_ms=400, backoff=1, probes=1), limits)
    assert begin is not None
    assert begin.typical_s + 0.2 == pytest.approx(whole.typical_s, rel=0.1)
    orphan = asked._replace(state=State.FIN_WAIT1, inode=0)
    whole = timers.orphan_window(TimerClock(), 0, answers=True)
    left = given_up(orphan, limits)
    assert left is not None
    assert left.least_s == pytest.approx(whole.typical_s - 0.6, rel=0.1)


def test_keepalive_and_fin_wait2() -> None:
    limits = TimerSettings(keepalive_probes=9, keepalive_intvl_s=75)
    left = given_up(info(timer=KEEPALIVE, tries=4, expires_ms=20_000), limits)
    assert left is not None
    assert left.least_s == 20 + 5 * 75
    held = info(state=State.FIN_WAIT2)
    assert given_up(held, limits) == NEVER
    orphan = held._replace(inode=0, timer=3, expires_ms=42_000)
    left = given_up(orphan, limits)
    assert left is not None
    assert left.least_s == 42
    # tcp_fin_timeout 180: 120 s as a full socket, then 120 s as a timewait socket.
    full = held._replace(inode=0, timer=KEEPALIVE, expires_ms=100_000)
    left = given_up(full, TimerSettings(fin_timeout_s=180))
    assert left is not None
    assert left.least_s == 220


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (info(), ""),
        (info(timer=RETRANSMIT), ""),
        (info(timer=RETRANSMIT, tries=1), "retransmits"),
        (info(timer=PROBE), "window closed"),
        (info(timer=KEEPALIVE), ""),
        (info(timer=KEEPALIVE, tries=1), "silent peer"),
        (info(state=State.SYN_SENT, timer=RETRANSMIT), ""),
        (info(state=State.SYN_SENT, timer=RETRANSMIT, tries=2), "connecting"),
        (info(state=State.FIN_WAIT2), "no FIN of peer"),
        (info(state=State.FIN_WAIT1, timer=RETRANSMIT, tries=1), "retransmits"),
    ],
    ids=str,
)
def test_what_fails(now: Info, says: str) -> None:
    assert what(now) == says


def test_numbers_that_cannot_be_end_nevertheless() -> None:
    """The kernel's bytes: 255 of each, a timeout of 71 minutes."""
    worst = info(
        timer=RETRANSMIT, tries=255, retransmits=255, probes=255, backoff=255, rto_s=4294.9
    )
    for timer in (0, RETRANSMIT, KEEPALIVE, 3, PROBE, 9):
        for state in State:
            for inode in (0, 1):
                now = worst._replace(timer=timer, state=state, inode=inode, expires_ms=2**32 - 1)
                left = given_up(now, TimerSettings())
                assert left is None or left.least_s >= 0
