# SPDX-License-Identifier: Apache-2.0
"""Which limit ran out, its value, and how long the socket had waited."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows, State, end_ns, jiffies_to_ms, time_in
from tracetw.event.names import KernelNames
from tracetw.event.record import (
    AT_CLOSED,
    F_CLOSE_CALLED,
    F_DEAD,
    F_RST_EARLY,
    F_SYSCTL,
    F_TW_FIN_WAIT2,
    MP_CONNECTION,
)
from tracetw.verdict.taxonomy import LIMITS, VERDICT_INDEX
from tracetw.verdict.timers import ORPHAN_RETRIES, TIME_WAIT_S

Limit = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]
_Decision = tuple[NDArray[np.intp], NDArray[np.int64]]

_NAME = {name: number for number, name in enumerate(LIMITS)}
# Kinds of waiting, by verdict.
_REPEATED, _KEEPALIVE, _FIN_WAIT2, _CONNECT = 1, 2, 3, 4
_KINDS = {
    "retransmit-exhausted": _REPEATED,
    "fin-exhausted": _REPEATED,
    "user-timeout": _REPEATED,
    "unreachable": _REPEATED,
    "window-probe-expired": _REPEATED,
    "output-blocked": _REPEATED,
    "keepalive-expired": _KEEPALIVE,
    "fin-wait2-timeout": _FIN_WAIT2,
    "connect-timeout": _CONNECT,
}
_KIND = np.zeros(256, np.uint8)
for _code, _kind in _KINDS.items():
    _KIND[VERDICT_INDEX[_code]] = _kind

_RTO_MAX_S = 120  # TCP_RTO_MAX, of sockets that have no icsk_rto_max
_MS = 1_000_000
_HALF = 1 << 31


def limits(rows: Rows, verdict: NDArray[np.uint8], names: KernelNames) -> Limit:
    """(limit, value, elapsed in ms): columns of ``Findings``, empty where no limit ran out.

    Values are in the unit of the sysctl or socket option: attempts, probes, seconds, or
    milliseconds for TCP_USER_TIMEOUT.
    """
    limit = np.zeros(len(rows), np.uint8)
    value = np.full(len(rows), -1, np.int64)
    elapsed = np.full(len(rows), -1, np.int64)
    kinds = _KIND.take(verdict)
    if not kinds.any():
        return limit, value, elapsed
    # The timers of MPTCP are its own.
    kinds[(rows["mptcp_flags"] & MP_CONNECTION) != 0] = 0
    for kind in np.flatnonzero(np.bincount(kinds)).tolist():
        if kind:
            decide, wait = _BY_KIND[kind]
            which = np.flatnonzero(kinds == kind)
            some = rows[which]
            limit[which], value[which] = decide(some, names)
            elapsed[which] = wait(some, end_ns(some), names)
    return limit, value, elapsed


def _sysctl(rows: Rows, column: str) -> NDArray[np.int64]:
    """Value of a sysctl; -1 where the record has none."""
    known = (rows["flags"] & F_SYSCTL) != 0
    return np.where(known, rows[column].astype(np.int64), -1)


def _own_or_sysctl(
    own: NDArray[np.int64], sysctl: NDArray[np.int64], option: str, name: str
) -> _Decision:
    """A socket option that is set replaces the sysctl."""
    is_set = own > 0
    return np.where(is_set, _NAME[option], _NAME[name]), np.where(is_set, own, sysctl)


def _attempts(rows: Rows, names: KernelNames) -> _Decision:
    """Retransmissions and window probes.

    retransmits_timed_out and tcp_probe_timer let TCP_USER_TIMEOUT replace the number of attempts,
    of orphans as well.
    """
    orphan = (rows["flags"] & F_DEAD) != 0
    opening = (rows["old_state"] == State.SYN_SENT) | (rows["old_state"] == State.SYN_RECV)
    orphan_name, orphan_value = _orphan_attempts(rows, names)
    name = np.where(orphan, orphan_name, _NAME["tcp_retries2"])
    value = np.where(orphan, orphan_value, _sysctl(rows, "sysctl_retries2"))
    set_name, set_value = _syn_attempts(rows, names)
    use = opening | (set_name != 0)
    return np.where(use, set_name, name), np.where(use, set_value, value)


def _orphan_attempts(rows: Rows, names: KernelNames) -> _Decision:
    """Of an orphan, tcp_orphan_retries() net/ipv4/tcp_timer.c.

    A setting of 0 stands for 8, but only while the timeout is below its maximum. At the maximum it is 0: the next
    timeout, or a window probe that is answered like all before it, ends the orphan (tcp_write_timeout,
    tcp_probe_timer: ``!alive && icsk_backoff >= max_probes``). So does an ICMP error there.
    """
    retries = _sysctl(rows, "sysctl_orphan_retries")
    maximum = np.where(rows["rto_max"] > 0, rows["rto_max"], _RTO_MAX_S * names.hz)
    limit = np.where(retries == 0, ORPHAN_RETRIES, retries)
    none = (retries == 0) | (rows["err_soft"] != 0)
    slow = none & (rows["rto"] >= maximum)
    # Probes that were answered use nothing up: what ended it was the distance between them.
    probing = (rows["snd_nxt"] == rows["snd_una"]) & (rows["probes_out"] < limit)
    at_maximum = (retries >= 0) & (slow | probing)
    return (
        np.where(at_maximum, _NAME["TCP_RTO_MAX"], _NAME["tcp_orphan_retries"]),
        np.where(at_maximum, jiffies_to_ms(maximum, names), limit),
    )


def _syn_attempts(rows: Rows, _: KernelNames) -> _Decision:
    """SYNs: the record does not say whether tcp_syn_retries or TCP_SYNCNT was the limit."""
    own = rows["user_timeout"].astype(np.int64)
    return np.where(own > 0, _NAME["TCP_USER_TIMEOUT"], 0), np.where(own > 0, own, -1)


def _keepalive(rows: Rows, _: KernelNames) -> _Decision:
    own = rows["keepalive_probes"].astype(np.int64)
    sysctl = _sysctl(rows, "sysctl_keepalive_probes")
    return _own_or_sysctl(own, sysctl, "TCP_KEEPCNT", "tcp_keepalive_probes")


def _fin_wait2(rows: Rows, names: KernelNames) -> _Decision:
    sysctl = _sysctl(rows, "fin_timeout")
    seconds = np.where(sysctl < 0, -1, sysctl // names.hz)
    own = rows["linger2"].astype(np.int64)
    name, value = _own_or_sysctl(own, seconds, "TCP_LINGER2", "tcp_fin_timeout")
    return name, np.where(own > 0, own // names.hz, value)


def _since_first_sent(rows: Rows, end: NDArray[np.int64], names: KernelNames) -> NDArray[np.int64]:
    """Since the oldest unanswered segment was first sent, or since window probing began."""
    # retrans_stamp is the TCP clock: the low 32 bits of CLOCK_MONOTONIC in ms (tcp_clock_ms).
    stamp = rows["retrans_stamp"].astype(np.int64)
    passed = (end // _MS - stamp) & 0xFFFFFFFF
    sane = (stamp != 0) & (end > 0) & (passed < _HALF) & (end // _MS >= passed)
    probing = rows["probing"] != 0
    # Keepalive under TCP_USER_TIMEOUT: neither a retransmission nor a window probe, only silence.
    silent = (rows["probes_out"] != 0) & ((rows["flags"] & F_RST_EARLY) != 0)
    other = np.where(probing, jiffies_to_ms(rows["probing"], names), -1)
    other = np.where(silent, _since_heard(rows, end, names), other)
    return np.where(sane & ~silent, passed, other)


def _since_born(rows: Rows, end: NDArray[np.int64], names: KernelNames) -> NDArray[np.int64]:
    """Since the first SYN."""
    sent = _since_first_sent(rows, end, names)
    born = rows["at"][:, 0].astype(np.int64)
    known = (sent < 0) & (born > 0) & (end >= born)
    return np.where(known, (end - born) // _MS, sent)


def _since_heard(rows: Rows, _: NDArray[np.int64], names: KernelNames) -> NDArray[np.int64]:
    """Since the last segment from the peer; the record has 0 where that is unknown."""
    return np.where(rows["idle"] > 0, jiffies_to_ms(rows["idle"], names), -1)


def _since_fin_wait2(rows: Rows, end: NDArray[np.int64], names: KernelNames) -> NDArray[np.int64]:
    """Since the orphan waits: from close() on, or from the ACK of its FIN, whichever came later.

    The timewait socket is made at that moment. Only above TCP_TIMEWAIT_LEN does the full socket wait first; then the
    time of a close() that came after shutdown() is not known.
    """
    made = rows["at"][:, AT_CLOSED].astype(np.int64)
    _, seconds = _fin_wait2(rows, names)
    in_fin_wait2 = (rows["flags"] & F_TW_FIN_WAIT2) != 0
    at_once = in_fin_wait2 & (seconds >= 0) & (seconds <= TIME_WAIT_S)
    shut_before = (rows["flags"] & F_CLOSE_CALLED) != 0
    began = np.where(at_once, made, np.where(shut_before, -1, time_in(rows, State.FIN_WAIT2)))
    return np.where((began > 0) & (end >= began), (end - began) // _MS, -1)


_BY_KIND = {
    _REPEATED: (_attempts, _since_first_sent),
    _KEEPALIVE: (_keepalive, _since_heard),
    _FIN_WAIT2: (_fin_wait2, _since_fin_wait2),
    _CONNECT: (_syn_attempts, _since_born),
}
