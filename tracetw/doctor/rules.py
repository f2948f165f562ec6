# SPDX-License-Identifier: Apache-2.0
"""Findings about single settings and their limits. Each rule is pure; what is not known is no finding."""

from __future__ import annotations

from collections.abc import Iterator

from tracetw.doctor.finding import Finding, Seen, ipv4
from tracetw.doctor.setting import by_table, text
from tracetw.doctor.tracked import PREFIX
from tracetw.verdict import timers

_RETRIES2_LOW, _RETRIES2_HIGH = 8, 15  # RFC 1122 4.2.3.5: at least 100 s; the default
_FIN_TIMEOUT_LOW = 5
_FEW_PORTS, _WIDE_PORTS = 10_000, "10240 65535"
_NEARLY = 0.8
_ORPHAN_SHORT_S = 10.0


def _recycle(seen: Seen) -> Iterator[Finding]:
    if seen.one("tcp_tw_recycle") > 0:
        yield ipv4(
            seen,
            "tcp_tw_recycle",
            "connections of clients behind one NAT address are dropped at random",
            0,
        )


def _timestamps(seen: Seen) -> Iterator[Finding]:
    if seen.one("tcp_timestamps") != 0:
        return
    if seen.one("tcp_tw_reuse") > 0:
        yield ipv4(
            seen,
            "tcp_timestamps",
            "without timestamps tcp_tw_reuse never reuses a port, and old segments are not recognised",
            1,
        )
    if seen.one("tcp_rfc1337") == 0:
        # tcp_timewait_state_process: with timestamps PAWS rejects an old RST.
        yield ipv4(
            seen,
            "tcp_rfc1337",
            "without timestamps an old segment can end TIME_WAIT early (RFC 1337)",
            1,
        )


def _buckets(seen: Seen) -> Iterator[Finding]:
    buckets, used = seen.one("tcp_max_tw_buckets"), seen.facts.sockets.get("tw", 0)
    ports = seen.facts.ports() or 0
    usual = by_table(2)(seen.facts)
    lowered = buckets <= ports and usual is not None and buckets < usual[0]
    overflows = seen.counted("TCPTimeWaitOverflow")
    if buckets < 0 or not (lowered or used >= buckets * _NEARLY or overflows):
        return
    reason = (
        "they have run out"
        if overflows
        else "they run out"
        if used >= buckets * _NEARLY
        else f"less than the {ports:,} local ports that one peer can occupy, and than the default"
    )
    yield ipv4(
        seen,
        "tcp_max_tw_buckets",
        f"{reason}: beyond it TIME_WAIT is skipped and the FIN of the peer is answered with RST",
        max(1 << (ports * 2).bit_length(), 2 * buckets),
        f"{used:,} are in use",
        *overflows,
    )


def _fin_timeout(seen: Seen) -> Iterator[Finding]:
    value = seen.one("tcp_fin_timeout")
    if value > timers.TIME_WAIT_S:
        wait = timers.fin_wait2(seen.clock, value)
        yield ipv4(
            seen,
            "tcp_fin_timeout",
            f"above 60 s it means twice the excess: {text(wait)}, the first half as a full socket",
            60,
        )
    elif 0 <= value < _FIN_TIMEOUT_LOW:
        yield ipv4(
            seen,
            "tcp_fin_timeout",
            "peers that need longer for their own close meet a RST",
            15,
        )


def _retries2(seen: Seen) -> Iterator[Finding]:
    value = seen.one("tcp_retries2")
    wait = text(timers.data(seen.clock, max(value, 0)))
    if value > _RETRIES2_HIGH:
        reason = f"a connection to a dead peer hangs for {wait}"
        yield ipv4(seen, "tcp_retries2", reason, 8)
    elif 0 <= value < _RETRIES2_LOW:
        reason = (
            f"connections are given up after {wait}, not the 100 s of RFC 1122, also in short outages;"
            " an application that wants less has TCP_USER_TIMEOUT"
        )
        yield ipv4(seen, "tcp_retries2", reason, 8, *seen.counted("TCPAbortOnTimeout"))


def _orphan_retries(seen: Seen) -> Iterator[Finding]:
    value = seen.one("tcp_orphan_retries")
    wait = timers.orphan(seen.clock, max(value, 0))
    if value > timers.ORPHAN_RETRIES:
        reason = f"sockets that nobody holds any more wait {text(wait)} for peers that are gone"
        yield ipv4(seen, "tcp_orphan_retries", reason, 0)
    elif value == 0 and wait.most_s < _ORPHAN_SHORT_S:
        # tcp_orphan_retries(): a socket whose timeout has reached the maximum has none left.
        yield Finding(
            "net.ipv4.tcp_rto_max_ms",
            str(seen.one("tcp_rto_max_ms")),
            "with tcp_orphan_retries 0 a socket that is closed with data under way has retries only"
            f" until its timeout reaches tcp_rto_max_ms: it is thrown away after {text(wait)}, also when"
            " the peer is alive and only slow",
            seen.counted("TCPAbortOnTimeout"),
            ("net.ipv4.tcp_orphan_retries", str(timers.ORPHAN_RETRIES)),
        )


def _orphans(seen: Seen) -> Iterator[Finding]:
    limit, orphans = seen.one("tcp_max_orphans"), seen.facts.sockets.get("orphan", 0)
    # tcp_too_many_orphans counts an orphan twice or four times when it has retransmitted.
    if limit < 0 or orphans * 4 < limit:
        return
    yield ipv4(
        seen,
        "tcp_max_orphans",
        "near the limit close() answers with RST instead of FIN; find out who closes with data unsent",
        max(limit * 2, 1024),
        f"{orphans:,} orphans exist",
        *seen.counted("TCPAbortOnMemory"),
    )


def _ports(seen: Seen) -> Iterator[Finding]:
    ports, values = seen.facts.ports(), seen.facts.sysctls.get("net.ipv4.ip_local_port_range", ())
    if ports is None or ports >= _FEW_PORTS:
        return
    yield Finding(
        "net.ipv4.ip_local_port_range",
        " ".join(map(str, values)),
        f"{ports:,} ports: more than {ports / timers.TIME_WAIT_S:,.1f} closes a second towards one address"
        " and port use them up in TIME_WAIT",
        change=("net.ipv4.ip_local_port_range", _WIDE_PORTS),
    )


def _boot(seen: Seen) -> Iterator[Finding]:
    for name, assignment in sorted(seen.assigned.items()):
        values = seen.facts.sysctls.get(name)
        if values and not assignment.matches(values):
            where = f"{assignment.path}:{assignment.line}" if assignment.line else assignment.path
            # The module of connection tracking may load later than systemd-sysctl runs.
            when = (
                "is not after a boot either where nf_conntrack loads later (sysctl.d(5) has a udev rule)"
                if name.startswith(PREFIX)
                else "will be after the next boot"
            )
            yield Finding(
                name,
                " ".join(map(str, values)),
                f"a file that is read at boot says something else: it is not in force, and {when}",
                (f"{where} says {assignment.value}",),
                (name, assignment.value),
            )


RULES = (
    _recycle,
    _timestamps,
    _buckets,
    _fin_timeout,
    _retries2,
    _orphan_retries,
    _orphans,
    _ports,
    _boot,
)
