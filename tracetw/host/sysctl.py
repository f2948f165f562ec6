# SPDX-License-Identifier: Apache-2.0
"""Teardown settings of the kernel as a recording keeps them. A setting that cannot be read is absent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

Facts: TypeAlias = Mapping[str, int]
"""Name to number: sysctls by their full name, and what /proc/net/sockstat says of sockets."""

_IPV4 = (
    "tcp_abort_on_overflow",
    "tcp_early_retrans",
    "tcp_fin_timeout",
    "tcp_keepalive_intvl",
    "tcp_keepalive_probes",
    "tcp_keepalive_time",
    "tcp_max_orphans",
    "tcp_max_tw_buckets",
    "tcp_orphan_retries",
    "tcp_retries2",
    "tcp_rfc1337",
    "tcp_rto_max_ms",
    "tcp_rto_min_us",
    "tcp_timestamps",
    "tcp_tw_recycle",
    "tcp_tw_reuse",
)
_CONNTRACK = (
    "nf_conntrack_tcp_timeout_established",
    "nf_conntrack_tcp_timeout_fin_wait",
    "nf_conntrack_tcp_timeout_time_wait",
)


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
