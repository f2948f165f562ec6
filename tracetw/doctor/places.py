# SPDX-License-Identifier: Apache-2.0
"""Settings of what runs out: ports and TIME_WAIT, orphans, accept queues; and MPTCP."""

from __future__ import annotations

from tracetw.doctor.observed import Facts
from tracetw.doctor.setting import Meaning, Setting, by_table, exactly, known, text
from tracetw.verdict import timers
from tracetw.verdict.timers import TimerClock

_REUSE = {
    0: "connect() never takes a port over that is in TIME_WAIT",
    1: "connect() takes over ports in TIME_WAIT that are older than {delay}, with timestamps",
    2: "connect() takes over ports in TIME_WAIT that are older than {delay}, on loopback only",
}
_COOKIES = {
    0: "a full queue of requests drops SYNs",
    1: "a full queue of requests answers SYNs with cookies",
    2: "all SYNs are answered with cookies",
}
_STAMPS = {
    0: "off: no PAWS, no tcp_tw_reuse, and an old RST can end TIME_WAIT",
    1: "on, with a random offset for each pair of addresses",
    2: "on, without offsets",
}


def _ports(facts: Facts, _: TimerClock) -> Meaning:
    ports = facts.ports() or 0
    rate = ports / timers.TIME_WAIT_S
    return Meaning(
        f"{ports:,} ports: connections to one address and port that are closed here first run out at"
        f" {rate:,.0f} a second, if no port is reused"
    )


def _buckets(facts: Facts, _: TimerClock) -> Meaning:
    buckets = known(facts, "tcp_max_tw_buckets", 0)
    return Meaning(
        f"beyond {buckets:,} sockets TIME_WAIT is skipped: {buckets / timers.TIME_WAIT_S:,.0f} closes"
        " a second here first",
    )


def _reuse(facts: Facts, _: TimerClock) -> Meaning:
    delay = known(facts, "tcp_tw_reuse_delay", 1000) / 1000
    return Meaning(_REUSE.get(known(facts, "tcp_tw_reuse", 0), "").format(delay=text(delay)))


def _reuse_delay(facts: Facts, _: TimerClock) -> Meaning:
    delay = known(facts, "tcp_tw_reuse_delay", 1000) / 1000
    return Meaning(
        f"a port in TIME_WAIT can be taken over after {text(delay)}", {"reuse": exactly(delay)}
    )


def _recycle(_: Facts, __: TimerClock) -> Meaning:
    return Meaning("drops connections of clients behind one NAT address; gone since 4.12")


def _timestamps(facts: Facts, _: TimerClock) -> Meaning:
    return Meaning(_STAMPS.get(known(facts, "tcp_timestamps", 1), ""))


def _rfc1337(facts: Facts, _: TimerClock) -> Meaning:
    ends = "is ignored" if known(facts, "tcp_rfc1337", 0) else "ends it"
    return Meaning(f"an acceptable RST on a connection in TIME_WAIT {ends}")


def _orphans(facts: Facts, _: TimerClock) -> Meaning:
    limit = known(facts, "tcp_max_orphans", 0)
    return Meaning(
        f"beyond {limit:,} orphans (half or a quarter, if they retransmit) close() sends RST"
    )


def _somaxconn(facts: Facts, _: TimerClock) -> Meaning:
    return Meaning(
        f"listen() gets {known(facts, 'net.core.somaxconn', 0):,} at most, whatever it asks for;"
        " set when listen() is called"
    )


def _syn_backlog(facts: Facts, _: TimerClock) -> Meaning:
    backlog = known(facts, "tcp_max_syn_backlog", 0)
    return Meaning(
        f"without cookies, SYNs of unknown clients are dropped near {backlog:,} requests"
    )


def _cookies(facts: Facts, _: TimerClock) -> Meaning:
    return Meaning(_COOKIES.get(known(facts, "tcp_syncookies", 1), ""))


def _overflow(facts: Facts, _: TimerClock) -> Meaning:
    answer = (
        "RST" if known(facts, "tcp_abort_on_overflow", 0) else "silence, and the client repeats"
    )
    return Meaning(f"a connection that finds the accept queue full gets {answer}")


def _migrate(facts: Facts, _: TimerClock) -> Meaning:
    does = "go to another listener" if known(facts, "tcp_migrate_req", 0) else "get RST"
    return Meaning(
        f"connections that wait for accept() {does} when one of a SO_REUSEPORT group closes"
    )


def _mptcp(facts: Facts, _: TimerClock) -> Meaning:
    if not known(facts, "net.mptcp.enabled", 0):
        return Meaning("MPTCP sockets cannot be made")
    return Meaning("MPTCP sockets can be made: Go's listeners are, unless told otherwise")


def _mptcp_close(facts: Facts, _: TimerClock) -> Meaning:
    seconds = float(known(facts, "net.mptcp.close_timeout", 60))
    return Meaning(
        f"an MPTCP connection without a subflow, or orphaned without DATA_FIN, ends after {text(seconds)}",
        {"close": exactly(seconds)},
    )


_OVERFLOWS = ("ListenOverflows", "ListenDrops")

PLACES = (
    Setting(
        "net.ipv4.ip_local_port_range",
        (32768, 60999),
        ("connect-failed",),
        ("TWRecycled",),
        _ports,
        "wider: collides with services that listen in it, unless they are in ip_local_reserved_ports",
    ),
    Setting(
        "net.ipv4.tcp_max_tw_buckets",
        by_table(2),
        ("peer-lost-state",),
        ("TCPTimeWaitOverflow", "TW"),
        _buckets,
        "higher: about 300 bytes of memory each; lower: the peer's FIN or last ACK meets a RST",
    ),
    Setting(
        "net.ipv4.tcp_tw_reuse",
        (2,),
        ("peer-lost-state",),
        ("TWRecycled", "PAWSActive"),
        _reuse,
        "1: an old RST in the window can end the new connection, and a peer in LAST_ACK answers the SYN with an ACK",
    ),
    Setting(
        "net.ipv4.tcp_tw_reuse_delay",
        (1000,),
        ("peer-lost-state",),
        ("TWRecycled",),
        _reuse_delay,
        "lower: an old segment may have the same timestamp as a new one",
        "ms",
    ),
    Setting(
        "net.ipv4.tcp_tw_recycle",
        (0,),
        ("connect-timeout",),
        ("PAWSPassive",),
        _recycle,
        "1 breaks clients behind NAT",
    ),
    Setting(
        "net.ipv4.tcp_timestamps",
        (1,),
        ("peer-lost-state", "peer-reset"),
        ("PAWSEstab", "PAWSTimewait", "PAWSActive"),
        _timestamps,
        "0: saves 12 bytes a segment and loses all that",
    ),
    Setting(
        "net.ipv4.tcp_rfc1337",
        (0,),
        ("peer-lost-state",),
        ("TWKilled",),
        _rfc1337,
        "1: the peer's RST no longer frees the port, it waits for the whole minute",
    ),
    Setting(
        "net.ipv4.tcp_max_orphans",
        by_table(2),
        ("abort-memory",),
        ("TCPAbortOnMemory",),
        _orphans,
        "higher: up to 64 KiB of memory each that cannot be swapped",
        of_host=True,
    ),
    Setting(
        "net.core.somaxconn",
        (4096,),
        ("accept-aborted", "connect-timeout"),
        _OVERFLOWS,
        _somaxconn,
        "higher: more connections wait for a server that may be too slow for them; needs a restart of it",
    ),
    Setting(
        "net.ipv4.tcp_max_syn_backlog",
        by_table(128, 128),
        ("connect-timeout",),
        ("TCPReqQFullDrop", "TCPReqQFullDoCookies"),
        _syn_backlog,
        "higher: about 300 bytes of memory each",
    ),
    Setting(
        "net.ipv4.tcp_syncookies",
        (1,),
        ("connect-timeout",),
        ("SyncookiesSent", "SyncookiesFailed"),
        _cookies,
        "0: a flood of SYNs keeps clients out; 2: no window scaling or SACK without timestamps",
    ),
    Setting(
        "net.ipv4.tcp_abort_on_overflow",
        (0,),
        ("accept-aborted", "peer-reset"),
        _OVERFLOWS,
        _overflow,
        "1: clients see an error at once instead of a delay, also in a burst that would have passed",
    ),
    Setting(
        "net.ipv4.tcp_migrate_req",
        (0,),
        ("abort-listener",),
        ("TCPMigrateReqSuccess", "TCPMigrateReqFailure"),
        _migrate,
        "1: needs a program of the group that chooses, or they go to any other",
    ),
    Setting(
        "net.mptcp.enabled",
        (1,),
        (),
        (),
        _mptcp,
        "0: applications that ask for MPTCP get an error or fall back",
    ),
    Setting(
        "net.mptcp.close_timeout",
        (60,),
        (),
        (),
        _mptcp_close,
        "lower: a host that loses its network for longer loses its connections",
        "s",
    ),
)
