# SPDX-License-Identifier: Apache-2.0
"""Teardown settings of the kernel, and which of them look wrong for this host.

First the facts are read, then they are judged; judging is pure. A setting that cannot be read is
absent from the facts and never complained about. Kernel facts: Documentation/networking/ip-sysctl.rst
and the functions named at the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

__all__ = ["Concern", "Facts", "concerns", "read"]

Facts: TypeAlias = Mapping[str, int]
"""Name to number: sysctls by their full name, and what /proc/net/sockstat says of sockets."""

_IPV4 = (
    "tcp_abort_on_overflow",
    "tcp_fin_timeout",
    "tcp_keepalive_intvl",
    "tcp_keepalive_probes",
    "tcp_keepalive_time",
    "tcp_max_orphans",
    "tcp_max_tw_buckets",
    "tcp_orphan_retries",
    "tcp_retries2",
    "tcp_rfc1337",
    "tcp_timestamps",
    "tcp_tw_recycle",
    "tcp_tw_reuse",
)
_CONNTRACK = (
    "nf_conntrack_tcp_timeout_established",
    "nf_conntrack_tcp_timeout_fin_wait",
    "nf_conntrack_tcp_timeout_time_wait",
)
_TIME_WAIT_S = 60  # TCP_TIMEWAIT_LEN, include/net/tcp.h
_ORPHAN_RETRIES = 8  # tcp_orphan_retries() for a setting of 0
_RETRIES2_LOW, _RETRIES2_HIGH = 8, 15  # RFC 1122 4.2.3.5: at least 100 s; the default
_FIN_TIMEOUT_LOW = 5
_FEW_PORTS = 10_000


@dataclass(frozen=True, slots=True)
class Concern:
    """A setting that looks wrong here.

    Attributes:
        name: full name of the sysctl.
        value: what it is now.
        reason: why that is a problem on this host.
        advice: what to do.
    """

    name: str
    value: str
    reason: str
    advice: str


def read(proc: Path = Path("/proc")) -> Facts:
    """The facts, of the network namespace of this process."""
    facts: dict[str, int] = {}
    for folder, names in (("net/ipv4", _IPV4), ("net/netfilter", _CONNTRACK)):
        for name in names:
            values = _numbers(proc / "sys" / folder / name)
            if values:
                facts[f"{folder}/{name}".replace("/", ".")] = values[0]
    ports = _numbers(proc / "sys/net/ipv4/ip_local_port_range")
    if len(ports) == len(("low", "high")):
        facts["ports"] = ports[1] - ports[0] + 1
    return facts | _sockets(proc / "net/sockstat")


def concerns(facts: Facts) -> list[Concern]:
    """What looks wrong, in the order of the rules."""
    return [concern for rule in _RULES for concern in [rule(facts)] if concern]


def _numbers(path: Path) -> list[int]:
    try:
        return [int(word) for word in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return []


def _sockets(path: Path) -> dict[str, int]:
    """``tw`` and ``orphan`` of the line ``TCP: inuse 5 orphan 0 tw 12 alloc 7 mem 1``."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    words = next((line.split() for line in lines if line.startswith("TCP:")), [])
    pairs = dict(zip(words[1::2], words[2::2], strict=False))
    return {name: int(pairs[name]) for name in ("tw", "orphan") if name in pairs}


_Rule: TypeAlias = Callable[[Facts], Concern | None]
_MISSING = -1


def _ipv4(facts: Facts, name: str) -> int:
    return facts.get(f"net.ipv4.{name}", _MISSING)


def _concern(facts: Facts, name: str, reason: str, advice: str) -> Concern:
    full = name if name.startswith("net.") else f"net.ipv4.{name}"
    return Concern(full, str(facts[full]), reason, advice)


def _recycle(facts: Facts) -> Concern | None:
    if _ipv4(facts, "tcp_tw_recycle") <= 0:
        return None
    return _concern(
        facts,
        "tcp_tw_recycle",
        "connections of clients behind one NAT address are dropped at random",
        "set it to 0; kernels since 4.12 do not have it any more",
    )


def _reuse_without_timestamps(facts: Facts) -> Concern | None:
    if _ipv4(facts, "tcp_tw_reuse") <= 0 or _ipv4(facts, "tcp_timestamps") != 0:
        return None
    return _concern(
        facts,
        "tcp_timestamps",
        "without timestamps tcp_tw_reuse never reuses a port, and old segments are not recognised",
        "set it to 1",
    )


def _assassination(facts: Facts) -> Concern | None:
    # tcp_timewait_state_process: with timestamps PAWS rejects an old RST.
    if _ipv4(facts, "tcp_timestamps") != 0 or _ipv4(facts, "tcp_rfc1337") != 0:
        return None
    return _concern(
        facts,
        "tcp_rfc1337",
        "without timestamps an old segment can end TIME_WAIT early (RFC 1337)",
        "set it to 1, or tcp_timestamps to 1",
    )


def _few_buckets(facts: Facts) -> Concern | None:
    buckets, used = _ipv4(facts, "tcp_max_tw_buckets"), facts.get("tw", 0)
    ports = facts.get("ports", 0)
    if buckets == _MISSING or (buckets > ports and used < buckets * 0.8):
        return None
    reason = (
        f"{used:,} are in use"
        if used >= buckets * 0.8
        else f"less than the {ports:,} local ports that one peer can occupy"
    )
    return _concern(
        facts,
        "tcp_max_tw_buckets",
        f"{reason}: beyond it TIME_WAIT is skipped and the FIN of the peer is answered with RST",
        "raise it; a bucket takes about 300 bytes",
    )


def _fin_timeout(facts: Facts) -> Concern | None:
    value = _ipv4(facts, "tcp_fin_timeout")
    if value > _TIME_WAIT_S:
        return _concern(
            facts,
            "tcp_fin_timeout",
            f"above {_TIME_WAIT_S} s an orphan in FIN_WAIT2 stays a full socket for the excess",
            f"set it to {_TIME_WAIT_S} or less",
        )
    if 0 <= value < _FIN_TIMEOUT_LOW:
        return _concern(
            facts,
            "tcp_fin_timeout",
            "peers that need longer for their own close meet a RST",
            "set it to 15 or more",
        )
    return None


def _retries2(facts: Facts) -> Concern | None:
    value = _ipv4(facts, "tcp_retries2")
    if value > _RETRIES2_HIGH:
        return _concern(
            facts,
            "tcp_retries2",
            "a connection to a dead peer hangs for more than 15 minutes",
            "set it to 15 or less; 8 gives up after about 100 s",
        )
    if 0 <= value < _RETRIES2_LOW:
        return _concern(
            facts,
            "tcp_retries2",
            "connections are given up in less than the 100 s of RFC 1122, also in short outages",
            "set it to 8 or more, and TCP_USER_TIMEOUT where an application wants less",
        )
    return None


def _orphan_retries(facts: Facts) -> Concern | None:
    value = _ipv4(facts, "tcp_orphan_retries")
    if value <= _ORPHAN_RETRIES:
        return None
    return _concern(
        facts,
        "tcp_orphan_retries",
        "sockets that nobody holds any more wait long for peers that are gone",
        f"set it to 0, which means {_ORPHAN_RETRIES}",
    )


def _orphans(facts: Facts) -> Concern | None:
    limit, orphans = _ipv4(facts, "tcp_max_orphans"), facts.get("orphan", 0)
    # tcp_too_many_orphans counts an orphan twice or four times when it has retransmitted.
    if limit == _MISSING or orphans * 4 < limit:
        return None
    return _concern(
        facts,
        "tcp_max_orphans",
        f"{orphans:,} orphans exist: near the limit close() answers with RST instead of FIN",
        "raise it, after finding who closes with data unsent (verdict abort-memory)",
    )


def _ports(facts: Facts) -> Concern | None:
    ports = facts.get("ports", _FEW_PORTS)
    if ports >= _FEW_PORTS:
        return None
    return Concern(
        "net.ipv4.ip_local_port_range",
        f"{ports:,} ports",
        f"more than {ports // _TIME_WAIT_S:,} closes a second towards one address use them up in"
        " TIME_WAIT",
        "widen it, for example to 10240 65535",
    )


def _abort_on_overflow(facts: Facts) -> Concern | None:
    if _ipv4(facts, "tcp_abort_on_overflow") <= 0:
        return None
    return _concern(
        facts,
        "tcp_abort_on_overflow",
        "a short burst that fills an accept queue becomes RST at the clients instead of a retry",
        "set it to 0 and give listen() a larger backlog",
    )


def _conntrack(facts: Facts) -> Concern | None:
    name = "net.netfilter.nf_conntrack_tcp_timeout_established"
    idle, first = facts.get(name, _MISSING), _ipv4(facts, "tcp_keepalive_time")
    if idle == _MISSING or first <= idle:
        return None
    return _concern(
        facts,
        "tcp_keepalive_time",
        f"connection tracking forgets an idle connection after {idle} s, before the first keepalive",
        f"set it below {idle}, or raise {name}",
    )


_RULES: tuple[_Rule, ...] = (
    _recycle,
    _reuse_without_timestamps,
    _assassination,
    _few_buckets,
    _fin_timeout,
    _retries2,
    _orphan_retries,
    _orphans,
    _ports,
    _abort_on_overflow,
    _conntrack,
)
