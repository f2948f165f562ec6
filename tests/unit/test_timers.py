# SPDX-License-Identifier: Apache-2.0
"""Times computed from settings: the documented numbers, and rules that a measurement cannot show.

The kernel's own are in tests/kernel/test_timers.py.
"""

from __future__ import annotations

import math

import pytest

from tracetw.verdict import timers
from tracetw.verdict.timers import Since, TimerClock
from tracetw.verdict.wheel import TimerRun

CLOCK = TimerClock(timers.first_rto(hz=250), hz=250)
UNROUNDED = TimerClock()
SHORT = TimerClock(rto_max_s=1.0)


@pytest.mark.parametrize(
    ("retries", "rto_max_s", "seconds"),
    [
        (15, 120.0, 924.6),  # Documentation/networking/ip-sysctl.rst
        (8, 120.0, 102.2),
        (3, 120.0, 3.0),
        (0, 120.0, 0.2),
        (15, 1.0, 14.4),
        (8, 1.0, 7.4),
    ],
)
def test_limits_of_the_documentation(retries: int, rto_max_s: float, seconds: float) -> None:
    assert timers.limit(retries, rto_max_s) == pytest.approx(seconds)


def test_syn_of_the_documentation() -> None:
    """ip-sysctl.rst: 131 s with the linear ones, 127 s without; SYN+ACK 63 s."""
    assert timers.syn(UNROUNDED, 6, 4).least_s == pytest.approx(131)
    assert timers.syn(UNROUNDED, 6).least_s == pytest.approx(127)
    assert timers.syn_ack(UNROUNDED, 5).least_s == pytest.approx(63)


def test_request_timeouts_follow_tcp_rto_max_ms_only_where_the_kernel_has_it() -> None:
    assert timers.syn_ack(SHORT, 5).least_s == pytest.approx(63)
    assert timers.syn_ack(SHORT, 5, capped=True).least_s == pytest.approx(6)


@pytest.mark.parametrize("retries", range(1, 16))
def test_nothing_is_given_up_before_its_limit_nor_long_after(retries: int) -> None:
    for rto_max_s in (1.0, 10.0, 120.0):
        clock = TimerClock(CLOCK.rto_s, rto_max_s, 250)
        least, limit = timers.data(clock, retries).least_s, timers.limit(retries, rto_max_s)
        assert limit < least < 2.5 * limit + 1


def test_a_long_path_takes_longer() -> None:
    for srtt_s in (0.05, 0.3, 2.0):
        slow = TimerClock(timers.first_rto(srtt_s=srtt_s))
        assert timers.data(slow, 15).least_s > timers.limit(15)
        assert timers.orphan(slow, 0).least_s > timers.limit(8)


def test_a_low_maximum_ends_orphans_early() -> None:
    """Not what tcp_rto_max_ms is said to do: tcp_orphan_retries() counts such a socket as dead."""
    assert timers.orphan(SHORT, 0).most_s < 3
    assert timers.orphan(UNROUNDED, 0).least_s > 100
    assert timers.orphan(SHORT, 8).least_s > timers.limit(8, 1.0)


def test_an_answering_peer_keeps_a_window_closed_for_ever() -> None:
    assert math.isinf(timers.window(CLOCK, 15, answers=True).least_s)
    assert timers.window(CLOCK, 15, 30.0, answers=True).most_s < 33
    assert 325 < timers.orphan_window(CLOCK, 0, answers=True).least_s < 340
    assert timers.orphan_window(CLOCK, 0, answers=False).least_s > 102


def test_keepalive() -> None:
    assert timers.keepalive(UNROUNDED, 7200, 75, 9).least_s == 7875
    assert timers.keepalive(UNROUNDED, 60, 10, 9, 30.0).least_s == 70  # one probe is sent
    assert timers.keepalive(UNROUNDED, 60, 10, 1, 95.0).least_s == 100


def test_fin_wait2_above_a_minute_is_short() -> None:
    assert timers.fin_wait2(UNROUNDED, 60).least_s == 60
    assert timers.fin_wait2(UNROUNDED, 62).least_s == 4
    assert timers.fin_wait2(UNROUNDED, 0).least_s == pytest.approx(0.7)
    assert timers.fin_wait2(UNROUNDED, 300).least_s == 480


def test_what_is_left_adds_up() -> None:
    """After the retransmission at 0.4 s, and after the next one, the rest is what remains of the whole."""
    whole = timers.data(UNROUNDED, 5).least_s
    assert timers.data_left(UNROUNDED, Since(), 5).least_s == pytest.approx(whole - 0.4)
    doubled = TimerClock(rto_s=0.4)
    assert timers.data_left(doubled, Since(0.4), 5).least_s == pytest.approx(whole - 0.8)
    half = Since(0.2, timer_s=0.2)  # the timer that was doubled to 0.4 s is half way
    assert timers.data_left(doubled, half, 5).least_s == pytest.approx(whole - 0.6)
    orphan = timers.orphan(SHORT, 0).least_s
    assert timers.orphan_left(SHORT, Since(), 0).least_s == pytest.approx(orphan - 0.4)


def test_timers_are_late_by_an_eighth_at_most_and_never_early() -> None:
    for wait_s in (0.004, 0.2, 0.26, 1, 3, 17, 130, 924, 7200):
        for start in range(0, 5000, 97):
            run = TimerRun(250, start)
            run.sleep(wait_s)
            assert wait_s < run.now_s <= wait_s * 1.13 + 0.008


def test_settings_that_no_kernel_takes_end_as_well() -> None:
    for retries in (0, 255):
        assert timers.data(SHORT, retries).most_s > 0
        assert timers.syn(SHORT, retries, 127).most_s > 0
        assert timers.orphan_window(SHORT, retries, answers=True).most_s > 0
    assert timers.keepalive(UNROUNDED, 1, 1, 127, 1e9).most_s > 0
