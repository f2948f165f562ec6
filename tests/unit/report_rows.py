# SPDX-License-Identifier: Apache-2.0
"""Recordings in memory for the tests of report, replay and query: facts of whole incidents."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tests.unit.sink_rows import CONTAINER, GROUPS, NAMES, packed
from tracetw.event import record as r
from tracetw.event.fields import State
from tracetw.event.record import End, Owner
from tracetw.host.clock import Clock
from tracetw.recording.facts import Damage, Lost, Sample
from tracetw.recording.header import Header
from tracetw.recording.reader import Recording
from tracetw.recording.schema import HeardDocument
from tracetw.recording.segment import Segment

Values = Mapping[str, Any]

SECOND = 1_000_000_000
WALL = 1767355200 * SECOND
"""2026-01-02T12:00:00Z, monotonic ``BOOT``."""
BOOT = 1_000 * SECOND
CLOCK = Clock(WALL - BOOT, 0)
NETNS = 4026531840
BASE = r.F_BORN | r.F_ADDR | r.F_CLOSED | r.F_SYSCTL | r.F_TS_OK
SYSCTLS = {
    "net.ipv4.tcp_fin_timeout": 60,
    "net.ipv4.tcp_max_tw_buckets": 262144,
    "net.ipv4.tcp_retries2": 15,
    "net.ipv4.tcp_tw_reuse": 2,
    "net.ipv4.tcp_timestamps": 1,
    "ports": 28232,
}

# Times of the states before the end, in ms before it; the last is the end itself.
SHAPES: dict[str, dict[str, Any]] = {
    "orderly-active": {
        "path": 0x21456,
        "before": (12.0, 11.0, 0.6, 0.5, 0),
        "old_state": State.FIN_WAIT2,
        "flags": r.F_DEAD | r.F_TW | r.F_TW_FIN_WAIT2 | r.F_FIN_ACKED,
        "end": End.FIN,
        "una": 1,
    },
    "orderly-passive": {
        "path": 0x1897,
        "before": (11.0, 0.6, 0.5, 0),
        "old_state": State.LAST_ACK,
        "flags": r.F_DEAD | r.F_DONE | r.F_FIN_ACKED,
        "una": 1,
    },
    "retransmit-exhausted": {
        "path": 0x217,
        "before": (930_000, 929_999, 0),
        "old_state": State.ESTABLISHED,
        "flags": r.F_SOCKET,
        "err": errno.ETIMEDOUT,
        "retransmits": 15,
        "total_retrans": 15,
        "backoff": 15,
        "ahead": 512,
        "idle": 924_600,
        "rto": 120_000,
    },
    "keepalive-expired": {
        "path": 0x217,
        "before": (90_000, 89_999, 0),
        "old_state": State.ESTABLISHED,
        "flags": r.F_RST_OUT | r.F_RST_EARLY | r.F_SOCKET,
        "err": errno.ETIMEDOUT,
        "probes_out": 9,
        "idle": 80_000,
    },
    "peer-reset": {
        "path": 0x217,
        "before": (40, 39, 0),
        "old_state": State.ESTABLISHED,
        "flags": r.F_RST_IN | r.F_RST_ACK_KNOWN | r.F_RST_ACK | r.F_SOCKET,
        "err": errno.ECONNRESET,
    },
    "peer-lost-state": {
        "path": 0x217,
        "before": (40_000, 39_999, 0),
        "old_state": State.ESTABLISHED,
        "flags": r.F_RST_IN | r.F_RST_ACK_KNOWN | r.F_SOCKET,
        "err": errno.ECONNRESET,
        "ahead": 100,
        "retransmits": 1,
        "total_retrans": 1,
    },
    "abort-unread": {
        "path": 0x217,
        "before": (25, 24, 0),
        "old_state": State.ESTABLISHED,
        "flags": r.F_OWNED | r.F_SOCKET | r.F_RST_OUT,
        "shutdown": 3,
        "unread": 100,
    },
    "connect-refused": {
        "path": 0x27,
        "before": (0.3, 0),
        "old_state": State.SYN_SENT,
        "flags": r.F_RST_IN | r.F_SOCKET,
        "err": errno.ECONNREFUSED,
    },
}


def connections(
    shape: str,
    ends: Sequence[float] | NDArray[Any],
    *,
    local: str = "10.0.0.1",
    remote: str = "10.0.0.2",
    lport: int | NDArray[Any] = 0,
    rport: int | NDArray[Any] = 443,
    server: bool = False,
    **more: Any,
) -> NDArray[Any]:
    """Connections of one shape that ended so many seconds after ``WALL``.

    A port of 0 becomes different ones. ``more`` are further fields of the record.
    """
    facts = {**SHAPES[shape], **more}
    count = len(ends)
    rows = np.zeros(count, r.CLOSE)
    end = (np.asarray(ends, np.float64) * SECOND).astype(np.int64) + BOOT
    for place, before in enumerate(facts.pop("before")):
        rows["at"][:, place] = end - int(before * 1e6)
    flags = facts.pop("flags") | BASE | (r.F_SERVER if server else r.F_CLIENT)
    rows["flags"] = flags
    rows["write_seq"] = rows["snd_nxt"] = 1000 + facts.get("una", 0)
    rows["snd_una"] = rows["snd_nxt"] - np.uint32(facts.pop("ahead", 0))
    rows["snd_una"][:] = np.maximum(rows["snd_una"], 1)
    facts.pop("una", None)
    rows["copied_seq"] = 5000
    rows["rcv_nxt"] = 5000 + facts.pop("unread", 0) + ((flags & r.F_DONE) != 0)
    rows["snd_wnd"], rows["rto"] = 65535, 51
    rows["fin_timeout"], rows["sysctl_retries2"] = 15_000, 15
    rows["sysctl_keepalive_probes"] = 9
    rows["comm"], rows["pid"], rows["uid"], rows["cgroup"] = b"nginx", 812, 33, 8
    rows["owner_from"], rows["end"], rows["netns"] = Owner.CLOSE, End.DESTROY, NETNS
    rows["family"], rows["sk"] = (10 if ":" in local else 2), 0xFFFF888000000000
    rows["laddr"], rows["raddr"] = packed(local), packed(remote)
    ephemeral = 32768 + np.arange(count) % 28000
    both = {"lport": lport, "rport": rport}
    for name, port in both.items():
        rows[name] = ephemeral if isinstance(port, int) and not port else port
    rows["bytes_sent"], rows["bytes_received"] = 1200, 15000
    for name, value in facts.items():
        # SHAPES give times in ms; the recorded kernel counts in jiffies of 4 ms.
        rows[name] = value // 4 if name in ("idle", "rto") else value
    return rows


class Memory(Recording):
    """A recording that was never in a file."""

    def __init__(
        self,
        *parts: NDArray[Any],
        host: str = "web-1",
        seconds: float = 3600,
        events: NDArray[Any] | None = None,
        samples: Sequence[Sample] = (),
        losses: Sequence[Lost] = (),
        damage: Sequence[Damage] = (),
        **header: Any,
    ) -> None:
        rows = np.concatenate(parts) if parts else np.zeros(0, r.CLOSE)
        last = rows["at"].max(axis=1)
        self._all = rows[np.argsort(last, kind="stable")]
        self._events = np.zeros(0, r.EVENT) if events is None else events
        self._samples, self._losses = samples, list(losses)
        self.damage = list(damage)
        self.header = replace(header_of(host, seconds), **header)
        self.segments = (cast("Segment", SimpleNamespace(header=self.header)),)

    def closes(self, batch: int = 1 << 16) -> Iterator[NDArray[Any]]:
        for first in range(0, len(self._all), batch):
            yield self._all[first : first + batch]

    def closes_at(
        self, places: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        yield places, self._all[places]

    def events(self, batch: int = 1 << 16) -> Iterator[NDArray[Any]]:
        for first in range(0, len(self._events), batch):
            yield self._events[first : first + batch]

    def samples(self) -> Iterator[Sample]:
        yield from self._samples

    def losses(self) -> list[Lost]:
        return self._losses

    def heard(self) -> Iterator[tuple[int, HeardDocument]]:
        yield from ()

    def cgroup_path(self, identity: int) -> str | None:
        return GROUPS.get(identity)

    def user(self, uid: int) -> str | None:
        return {33: "www-data"}.get(uid)


def header_of(host: str, seconds: float) -> Header:
    return Header(
        version=2,
        run="0123456789abcdef",
        segment=0,
        host=host,
        kernel="6.12.0",
        machine="x86_64",
        machine_id=None,
        boot="3f0c0ab1",
        clock=CLOCK,
        run_started_ns=WALL,
        started_ns=WALL,
        ended_ns=WALL + int(seconds * SECOND),
        netns=NETNS,
        names=NAMES,
        netns_names={},
        sysctls={NETNS: SYSCTLS},
        counters={NETNS: {"EstabResets": 10, "OutRsts": 20}},
        hooks=("state_change",),
        absent=(),
        events=frozenset(),
        command=("tracetw", "record"),
        filters=(),
        tracetw="0.1",
        signals={},
        errors={},
    )


def traffic(seed: int = 1, seconds: float = 3600, rate: float = 5) -> list[NDArray[Any]]:
    """What is normal on the host: clients of it, and its own connections to two back ends."""
    random = np.random.default_rng(seed)

    def ends(each: float) -> NDArray[Any]:
        return np.sort(random.uniform(0, seconds, int(seconds * rate * each)))

    return [
        connections(
            "orderly-passive", ends(0.4), local="10.0.0.1", remote="192.0.2.7", lport=443,
            rport=0, server=True,
        ),
        connections("orderly-active", ends(0.3), remote="10.1.2.3", rport=5432),
        connections(
            "orderly-active", ends(0.3), remote="10.1.2.4", rport=6379, comm=b"worker", pid=990,
            cgroup=7,
        ),
        connections(
            "peer-reset", ends(0.01), remote="192.0.2.7", lport=443, rport=0, server=True
        ),
    ]  # fmt: skip


def outage(at: float = 1000.0, count: int = 412) -> list[NDArray[Any]]:
    """10.1.2.3 falls silent at second ``at``; a client misbehaves a little later."""
    random = np.random.default_rng(7)
    spread = np.sort(random.uniform(0, 60, count))
    lost = connections("retransmit-exhausted", at + 924.6 + spread, remote="10.1.2.3", rport=5432)
    lost["idle"] = ((924.6 + spread) * 250).astype(np.uint32)
    lost["at"][:, 0] = BOOT + int((at - 5) * SECOND)
    lost["at"][:, 1] = lost["at"][:, 0] + 1_000_000
    alive = connections(
        "keepalive-expired", at + 80 + spread[:38], remote="10.1.2.3", rport=5432, comm=b"worker",
        pid=990, cgroup=7,
    )  # fmt: skip
    alive["idle"] = ((80 + spread[:38]) * 250).astype(np.uint32)
    rude = connections(
        "abort-unread", 2000 + np.arange(60) * 0.5, remote="192.0.2.8", lport=443, rport=0,
        server=True, comm=b"php-fpm", pid=4242,
    )  # fmt: skip
    return [lost, alive, rude]


__all__ = [
    "BOOT",
    "CLOCK",
    "CONTAINER",
    "NETNS",
    "SECOND",
    "SHAPES",
    "WALL",
    "Memory",
    "connections",
    "outage",
    "traffic",
]
