# SPDX-License-Identifier: Apache-2.0
"""Findings about what lies between a connection and its peer, or its application: middleboxes, queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tracetw.doctor.finding import Finding, Seen, ipv4
from tracetw.doctor.setting import text
from tracetw.doctor.tracked import PREFIX

MIDDLEBOXES = (
    (240, "Azure's load balancer"),
    (350, "AWS NLB and NAT gateway"),
    (600, "Google Cloud's firewall and load balancer"),
    (900, "IPVS (kube-proxy, LVS)"),
)
"""After how many idle seconds common devices forget a connection, by default and in silence."""
PATIENCE_S = 240
"""From when on a connection counts as idle: what the least patient of them forgets."""
_PROBE_BEFORE = 200
_MANY_INVALID = 1_000
_NEARLY = 0.9


def _keepalive(seen: Seen) -> Iterator[Finding]:
    quiet, first = seen.facts.quiet, seen.one("tcp_keepalive_time")
    if quiet is None or not quiet.probed or first <= PATIENCE_S:
        return
    idle = max((each.idle_s for each in quiet.longest if each.keepalive), default=PATIENCE_S)
    yield ipv4(
        seen,
        "tcp_keepalive_time",
        f"the first probe goes out after {text(first)}: by then {_who(idle, first)} forget an idle"
        " connection, and the next segment is lost or answered with RST",
        _PROBE_BEFORE,
        f"{_connections(quiet.probed)} with other hosts, with SO_KEEPALIVE, idle for longer than"
        f" {PATIENCE_S} s (up to {text(idle)})",
    )


def _who(idle_s: int, first_s: int) -> str:
    names = [f"{name} ({limit} s)" for limit, name in MIDDLEBOXES if limit <= min(idle_s, first_s)]
    return ", ".join(names) if names else "common load balancers"


def _silent(seen: Seen) -> Iterator[Finding]:
    quiet = seen.facts.quiet
    if quiet is None or not quiet.silent:
        return
    silent = [each for each in quiet.longest if not each.keepalive]
    owners = Counter(seen.owner(each.inode) for each in silent)
    longest = text(max((each.idle_s for each in silent), default=PATIENCE_S))
    yield Finding(
        "SO_KEEPALIVE",
        "off",
        "nobody will learn that the peer or something on the path has forgotten an idle connection"
        " until it is used: then it takes tcp_retries2 to find out",
        (
            (
                f"{_connections(quiet.silent)} with other hosts, without it, idle for longer than"
                f" {PATIENCE_S} s (up to {longest})"
            ),
            *(
                f"of the {len(silent)} that were idle the longest, held by {owner}: {count}"
                for owner, count in owners.most_common(5)
            ),
        ),
        advice="set SO_KEEPALIVE in the application (for ssh ServerAliveInterval, for PostgreSQL"
        " tcp_keepalives_idle), or close what is idle",
        verdicts=("peer-lost-state", "retransmit-exhausted"),
    )


def _connections(count: int) -> str:
    return f"{count:,} connection" + ("" if count == 1 else "s")


def _tracked_idle(seen: Seen) -> Iterator[Finding]:
    tracking, name = seen.facts.tracking, f"{PREFIX}tcp_timeout_established"
    idle, first = seen.one(name), seen.one("tcp_keepalive_time")
    if tracking is None or not tracking.entries or idle < 0 or first <= idle:
        return
    yield ipv4(
        seen,
        "tcp_keepalive_time",
        f"connection tracking of this host forgets an idle connection after {text(idle)}, before the"
        f" first probe at {text(first)}",
        max(idle // 2, 1),
        f"{tracking.entries:,} connections are tracked",
    )


def _tracked_half(seen: Seen) -> Iterator[Finding]:
    tracking, quiet = seen.facts.tracking, seen.facts.quiet
    name = f"{PREFIX}tcp_timeout_close_wait"
    limit = seen.one(name)
    if tracking is None or not tracking.entries or quiet is None or not quiet.half_closed:
        return
    if 0 <= limit <= PATIENCE_S:
        yield Finding(
            name,
            str(limit),
            f"connection tracking of this host forgets a connection that one side has closed after"
            f" {text(limit)}: what the other still sends loses its NAT or is dropped",
            (
                f"{_connections(quiet.half_closed)} closed by one side, idle for longer than {PATIENCE_S} s",
            ),
            (name, "3600"),
        )


def _invalid(seen: Seen) -> Iterator[Finding]:
    tracking, name = seen.facts.tracking, f"{PREFIX}tcp_be_liberal"
    if tracking is None or not tracking.entries or seen.one(name) != 0:
        return
    invalid = tracking.counters.get("invalid", 0)
    if invalid < _MANY_INVALID:
        return
    fate = {
        True: "a rule drops them, so the connection hangs until its retries are used up",
        False: "no rule drops them, so they pass without NAT and are answered with RST",
        None: f"what becomes of them is not known ({tracking.unknown})",
    }[tracking.drops_invalid]
    yield Finding(
        name,
        "0",
        f"segments that connection tracking finds out of the window are INVALID: {fate}",
        (f"{invalid:,} packets were INVALID",),
        (name, "1"),
    )


def _tracked_full(seen: Seen) -> Iterator[Finding]:
    tracking, name = seen.facts.tracking, f"{PREFIX}max"
    most = seen.one(name)
    if tracking is None or most <= 0:
        return
    counted = tracking.counters
    # nf_ct_resolve_clash() counts a packet as drop and insert_failed: the table need not be full for it.
    dropped = max(counted.get("drop", 0) - counted.get("insert_failed", 0), 0)
    evicted = counted.get("early_drop", 0)
    if dropped or evicted or tracking.entries >= most * _NEARLY:
        yield Finding(
            name,
            str(most),
            "the table of tracked connections is or was full: those without an answer are evicted to make"
            " room, then new connections are dropped, and clients time out",
            (
                f"{tracking.entries:,} connections are tracked",
                f"{dropped:,} packets were dropped for want of room, {evicted:,} entries were evicted for it",
            ),
            (name, str(most * 2)),
        )


def _queues(seen: Seen) -> Iterator[Finding]:
    most, counted = seen.one("net.core.somaxconn"), seen.counted("ListenOverflows", "ListenDrops")
    listeners = seen.facts.listeners
    full = [each for each in listeners if each.backlog and each.waiting > each.backlog * _NEARLY]
    if not full and not seen.facts.counters.get("ListenOverflows"):
        return
    capped = [each for each in full or listeners if each.backlog == most]
    found = "connections found the accept queue full: their clients wait, or get"
    if not seen.facts.counters.get("ListenOverflows"):
        found = "the accept queue is nearly full; when it is full clients wait, or get"
    told = [
        f"{each.address} port {each.port}, held by {seen.owner(each.inode)}: {each.waiting:,} of"
        f" {each.backlog:,} wait"
        for each in full[:5]
    ]
    small = min((each.backlog for each in full or listeners), default=most)
    yield Finding(
        "accept queue",
        f"{small:,} places" if full or listeners else "full",
        f"{found} RST with tcp_abort_on_overflow",
        (*told, *counted),
        ("net.core.somaxconn", str(most * 4)) if capped and most > 0 else None,
        "give listen() a larger backlog, and let the server accept() faster",
        ("connect-timeout", "accept-aborted"),
    )


def _abort_on_overflow(seen: Seen) -> Iterator[Finding]:
    if seen.one("tcp_abort_on_overflow") > 0:
        yield ipv4(
            seen,
            "tcp_abort_on_overflow",
            "a short burst that fills an accept queue becomes RST at the clients instead of a retry",
            0,
            *seen.counted("ListenOverflows"),
        )


def _cookies(seen: Seen) -> Iterator[Finding]:
    dropped = seen.counted("TCPReqQFullDrop")
    if seen.one("tcp_syncookies") == 0 and dropped:
        yield ipv4(
            seen,
            "tcp_syncookies",
            "SYNs were dropped because the queue of requests was full",
            1,
            *dropped,
        )


PATH_RULES = (
    _keepalive,
    _silent,
    _tracked_idle,
    _tracked_half,
    _invalid,
    _tracked_full,
    _queues,
    _abort_on_overflow,
    _cookies,
)
