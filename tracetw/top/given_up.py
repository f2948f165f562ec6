# SPDX-License-Identifier: Apache-2.0
"""When the kernel will give a connection up that fails now, from its timers and the settings. Pure.

TCP_USER_TIMEOUT, TCP_SYNCNT, TCP_KEEPCNT, TCP_KEEPINTVL and TCP_RTO_MAX_MS of the socket are not told by
sock_diag: with them it may be another time. What is computed is that of the settings of the namespace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tracetw.event.fields import State
from tracetw.host.sockinfo import Info
from tracetw.timewait.settings import TIME_WAIT_S
from tracetw.verdict import timers
from tracetw.verdict.timers import Since, TimerClock
from tracetw.verdict.wheel import Wait

NEVER = Wait(math.inf, math.inf)

RETRANSMIT, KEEPALIVE, PROBE = 1, 2, 4
"""``idiag_timer``: inet_sk_diag_fill()."""

_CLOSING = frozenset({State.FIN_WAIT1, State.CLOSING, State.LAST_ACK})


@dataclass(frozen=True, slots=True)
class TimerSettings:
    """Settings of a namespace, in their units; what the kernel has no file for is its default.

    Attributes:
        retries2, orphan_retries, syn_retries, syn_linear: how often.
        keepalive_intvl_s, keepalive_probes: of SO_KEEPALIVE.
        fin_timeout_s: of an orphan in FIN_WAIT2.
        rto_max_s: the longest timeout.
        hz: jiffies a second; None unknown.
    """

    retries2: int = 15
    orphan_retries: int = 0
    syn_retries: int = 6
    syn_linear: int = 0
    keepalive_intvl_s: int = 75
    keepalive_probes: int = 9
    fin_timeout_s: int = 60
    rto_max_s: float = timers.RTO_MAX_S
    hz: int | None = None


def what(info: Info) -> str:
    """What fails, in a word or two; empty when nothing does."""
    if info.state == State.SYN_SENT:
        return "connecting" if info.tries else ""
    if info.timer == RETRANSMIT and info.tries:
        return "retransmits"
    if info.timer == PROBE:
        return "window closed"
    if info.timer == KEEPALIVE and info.tries:
        return "silent peer"
    if info.state == State.FIN_WAIT2:
        return "no FIN of peer"
    return ""


def given_up(info: Info, limits: TimerSettings) -> Wait | None:
    """Seconds from now until the kernel gives up, if nothing changes; None unknown, infinite never."""
    orphan = info.inode == 0 and info.state in _CLOSING
    expires = info.expires_ms / 1000
    left: Wait | None = None
    if info.state == State.SYN_SENT:
        left = _connecting(info, limits)
    elif info.state == State.FIN_WAIT2:
        left = _waiting(info, limits)
    elif info.timer == RETRANSMIT and info.retransmits:
        left = _retransmitting(info, limits, orphan=orphan)
    elif info.timer == PROBE:
        left = _probing(info, limits, orphan=orphan)
    elif info.timer == KEEPALIVE and info.tries:
        expires += max(limits.keepalive_probes - info.tries, 0) * limits.keepalive_intvl_s
        left = Wait(expires, expires)
    return left


def _waiting(info: Info, limits: TimerSettings) -> Wait | None:
    """An orphan waits for what exceeds 60 s as a full socket, then as long again as a timewait socket.

    tcp_close, tcp_keepalive_timer: both with tcp_fin_time() - TCP_TIMEWAIT_LEN.
    """
    if info.inode:
        return NEVER
    if not info.timer:
        return None
    left = info.expires_ms / 1000
    if info.timer == KEEPALIVE:
        left += max(limits.fin_timeout_s - TIME_WAIT_S, info.rto_s * 3.5)
    return Wait(left, left)


def _retransmitting(info: Info, limits: TimerSettings, *, orphan: bool) -> Wait:
    clock = TimerClock(max(info.rto_s, 1e-3), limits.rto_max_s, limits.hz)
    expires = info.expires_ms / 1000
    since = Since(_since_first(info, limits) - expires, expires)
    if orphan:
        return timers.orphan_left(clock, since, limits.orphan_retries)
    return timers.data_left(clock, since, limits.retries2)


def _since_first(info: Info, limits: TimerSettings) -> float:
    """From the first retransmission to when the timer fires that runs now.

    Each timeout is twice the one before it (tcp_retransmit_timer): from the timeout now and the number
    of its doublings follow all of them.
    """
    first = math.ldexp(info.rto_s, -info.backoff)
    steps = range(1, info.retransmits + 1)
    return sum(min(math.ldexp(first, min(at, 64)), limits.rto_max_s) for at in steps)


def _connecting(info: Info, limits: TimerSettings) -> Wait:
    """As timers.syn(), less what has passed (tcp_connect, tcp_retransmit_timer)."""
    clock = TimerClock(rto_max_s=limits.rto_max_s, hz=limits.hz)
    whole = timers.syn(clock, limits.syn_retries, limits.syn_linear)
    passed = _syn_passed(info.tries, limits) - info.expires_ms / 1000
    return Wait(max(whole.least_s - passed, 0), max(whole.most_s - passed, 0))


def _syn_passed(tries: int, limits: TimerSettings) -> float:
    """From the first SYN to when the timer fires that runs now."""
    rto = total = min(1.0, limits.rto_max_s)
    for sent in range(1, tries + 1):
        if sent > limits.syn_linear:
            rto = min(rto * 2, limits.rto_max_s)
        total += rto
    return total


def _probing(info: Info, limits: TimerSettings, *, orphan: bool) -> Wait:
    """tcp_probe_timer: probes that nobody answers are counted, the timeout is doubled for all."""
    probes, left = info.probes, info.expires_ms / 1000
    if not orphan and not probes:
        return NEVER  # the peer answers, or has not been asked yet
    first = max(info.rto_s, timers.RTO_MIN_S)
    for more in range(1000):
        doubled = info.backoff + more
        alive = math.ldexp(first, min(doubled, 64)) < limits.rto_max_s
        retries = limits.retries2
        if orphan:
            retries = limits.orphan_retries or (timers.ORPHAN_RETRIES if alive else 0)
        if probes + more >= retries:
            break
        left += min(math.ldexp(first, min(doubled + 1, 64)), limits.rto_max_s)
    return Wait(left, left)
