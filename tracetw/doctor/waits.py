# SPDX-License-Identifier: Apache-2.0
"""Settings that say how long the kernel waits: for an ACK, an answer, a window, a FIN, an idle peer."""

from __future__ import annotations

from tracetw.doctor.observed import Facts
from tracetw.doctor.setting import Meaning, Setting, exactly, known, text
from tracetw.verdict import timers
from tracetw.verdict.timers import TimerClock

_TIMEOUTS = ("TCPAbortOnTimeout", "TCPTimeouts")
_KEEPALIVE = ("TCPKeepAlive", "TCPAbortOnTimeout")


def _retries2(facts: Facts, clock: TimerClock) -> Meaning:
    retries = known(facts, "tcp_retries2", 15)
    wait = timers.data(clock, retries)
    least = timers.limit(retries, clock.rto_max_s)
    silent = timers.window(clock, retries, answers=False)
    return Meaning(
        f"unacknowledged data: ETIMEDOUT after {text(wait)}, on no path before {text(least)}; a closed"
        f" window of a silent peer: at most {text(silent)}",
        {"unacknowledged_data": wait, "limit": exactly(least), "silent_window": silent},
    )


def _orphan_retries(facts: Facts, clock: TimerClock) -> Meaning:
    retries = known(facts, "tcp_orphan_retries", 0)
    wait = timers.orphan(clock, retries)
    answered = timers.orphan_window(clock, retries, answers=True)
    silent = timers.orphan_window(clock, retries, answers=False)
    return Meaning(
        f"after close(), a FIN that nobody acknowledges: {text(wait)}; data that a live peer's window"
        f" keeps back: at most {text(answered)}, then they are lost",
        {"unacknowledged_fin": wait, "answered_window": answered, "silent_window": silent},
    )


def _rto_min(facts: Facts, clock: TimerClock) -> Meaning:
    routes = len(facts.rto_mins)
    own = f"; {routes} routes have their own" if routes else ""
    return Meaning(
        f"a lost segment is sent again after {text(clock.rto_s)} or more; limits count from 0.2 s"
        f" whatever is set{own}",
        {"first_retransmission": exactly(clock.rto_s)},
    )


def _rto_max(_: Facts, clock: TimerClock) -> Meaning:
    return Meaning(
        f"no retransmission or probe waits for longer than {text(clock.rto_max_s)}; the limits below"
        " shrink with it",
        {"longest_timeout": exactly(clock.rto_max_s)},
    )


def _syn(facts: Facts, clock: TimerClock) -> Meaning:
    retries, linear = known(facts, "tcp_syn_retries", 6), known(facts, _LINEAR, 0)
    wait = timers.syn(clock, retries, linear)
    return Meaning(
        f"connect() to a host that does not answer: ETIMEDOUT after {text(wait)}", {"connect": wait}
    )


def _linear(facts: Facts, clock: TimerClock) -> Meaning:
    retries, linear = known(facts, "tcp_syn_retries", 6), known(facts, _LINEAR, 0)
    wait = timers.syn(clock, retries, linear)
    without = timers.syn(clock, retries)
    return Meaning(
        f"the first {linear} repeated SYNs go out a second apart: {text(wait)} for connect(),"
        f" {text(without)} without",
        {"connect": wait},
    )


def _synack(facts: Facts, clock: TimerClock) -> Meaning:
    wait = timers.syn_ack(clock, known(facts, "tcp_synack_retries", 5))
    return Meaning(
        f"a handshake that the client does not finish stays in SYN_RECV for {text(wait)}",
        {"handshake": wait},
    )


def _dead(facts: Facts, clock: TimerClock) -> timers.Wait:
    return timers.keepalive(
        clock,
        known(facts, "tcp_keepalive_time", 7200),
        known(facts, "tcp_keepalive_intvl", 75),
        known(facts, "tcp_keepalive_probes", 9),
    )


def _keepalive_time(facts: Facts, clock: TimerClock) -> Meaning:
    first = known(facts, "tcp_keepalive_time", 7200)
    wait = _dead(facts, clock)
    return Meaning(
        f"with SO_KEEPALIVE an idle peer is probed after {text(first)}, and one that is dead is found"
        f" after {text(wait)}",
        {"first_probe": exactly(first), "dead_peer": wait},
    )


def _keepalive_interval(facts: Facts, clock: TimerClock) -> Meaning:
    wait = _dead(facts, clock)
    interval = known(facts, "tcp_keepalive_intvl", 75)
    return Meaning(f"probes are {text(interval)} apart: {text(wait)} in all", {"dead_peer": wait})


def _keepalive_probes(facts: Facts, clock: TimerClock) -> Meaning:
    wait = _dead(facts, clock)
    probes = known(facts, "tcp_keepalive_probes", 9)
    return Meaning(
        f"{probes} unanswered probes end a connection: {text(wait)} in all", {"dead_peer": wait}
    )


def _fin_timeout(facts: Facts, clock: TimerClock) -> Meaning:
    wait = timers.fin_wait2(clock, known(facts, "tcp_fin_timeout", 60))
    return Meaning(
        f"after close(), the peer has {text(wait)} to send its FIN; data or a FIN after that is"
        " answered with RST",
        {"fin_wait2": wait},
    )


_LINEAR = "tcp_syn_linear_timeouts"
_DATA = ("retransmit-exhausted", "unreachable", "output-blocked", "window-probe-expired")

WAITS = (
    Setting(
        "net.ipv4.tcp_retries2",
        (15,),
        _DATA,
        _TIMEOUTS,
        _retries2,
        "lower: outages that are longer end connections (RFC 1122 wants 100 s, which is 8); higher: threads"
        " and ports hang on dead peers for longer. TCP_USER_TIMEOUT does it for one application",
    ),
    Setting(
        "net.ipv4.tcp_orphan_retries",
        (0,),
        ("fin-exhausted", "window-probe-expired"),
        ("TCPAbortOnTimeout", "TCPAbortOnMemory"),
        _orphan_retries,
        "lower: a slow or stopped peer loses the rest of the data; higher: orphans take memory for longer",
    ),
    Setting(
        "net.ipv4.tcp_rto_max_ms",
        (120_000,),
        (*_DATA, "fin-exhausted", "connect-timeout"),
        _TIMEOUTS,
        _rto_max,
        "lower: every limit in attempts becomes a shorter time, also of orphans and of connect(), and a"
        " dead path gets more packets",
        "ms",
    ),
    Setting(
        "net.ipv4.tcp_rto_min_us",
        (200_000,),
        _DATA,
        ("TCPTimeouts", "TCPSpuriousRTOs"),
        _rto_min,
        "lower: peers that delay their ACKs by 40 ms cause needless retransmissions; it moves no limit",
        "us",
    ),
    Setting(
        "net.ipv4.tcp_syn_retries",
        (6,),
        ("connect-timeout",),
        ("AttemptFails",),
        _syn,
        "lower: hosts that are slow to answer are not reached; TCP_SYNCNT does it for one application",
    ),
    Setting(
        "net.ipv4.tcp_syn_linear_timeouts",
        (4,),
        ("connect-timeout",),
        ("AttemptFails",),
        _linear,
        "higher: more SYNs in the first seconds; it cannot outlast the limit that tcp_syn_retries stands for",
    ),
    Setting(
        "net.ipv4.tcp_synack_retries",
        (5,),
        ("stale-syn-reset", "accept-aborted"),
        ("ListenOverflows", "TCPReqQFullDoCookies"),
        _synack,
        "lower: clients behind lossy paths fail to connect; higher: half-open requests fill the queue for longer",
    ),
    Setting(
        "net.ipv4.tcp_keepalive_time",
        (7200,),
        ("keepalive-expired",),
        _KEEPALIVE,
        _keepalive_time,
        "lower: a packet each way for each idle connection and interval; only sockets with SO_KEEPALIVE"
        " and without TCP_KEEPIDLE follow it",
        "s",
    ),
    Setting(
        "net.ipv4.tcp_keepalive_intvl",
        (75,),
        ("keepalive-expired",),
        _KEEPALIVE,
        _keepalive_interval,
        "lower: a shorter outage in a quiet moment ends the connection",
        "s",
    ),
    Setting(
        "net.ipv4.tcp_keepalive_probes",
        (9,),
        ("keepalive-expired",),
        _KEEPALIVE,
        _keepalive_probes,
        "lower: fewer lost packets end the connection",
    ),
    Setting(
        "net.ipv4.tcp_fin_timeout",
        (60,),
        ("fin-wait2-timeout", "abort-late-data"),
        ("TCPAbortOnData",),
        _fin_timeout,
        "lower: peers that need longer for their own close meet a RST; it does not shorten TIME_WAIT",
        "s",
    ),
)
