# SPDX-License-Identifier: Apache-2.0
"""Records and findings for the tests of sinks and filters."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import record
from tracetw.event.names import KernelNames
from tracetw.host.clock import Clock
from tracetw.stream.batch import Closes, Context, Events, ended_ns
from tracetw.verdict.evidence import EVIDENCE
from tracetw.verdict.findings import UNKNOWN, Findings
from tracetw.verdict.hints import HINTS
from tracetw.verdict.missing import MISSING
from tracetw.verdict.taxonomy import (
    CLOSED_BY,
    CONFIDENCE,
    FIRST_CLOSE,
    FORMS,
    LIMITS,
    RESET_DIRECTIONS,
    TIME_WAIT,
    VERDICTS,
)

NAMES = KernelNames(
    tcp_states={
        1: "ESTABLISHED",
        2: "SYN_SENT",
        3: "SYN_RECV",
        4: "FIN_WAIT1",
        5: "FIN_WAIT2",
        6: "TIME_WAIT",
        7: "CLOSE",
        8: "CLOSE_WAIT",
        9: "LAST_ACK",
        10: "LISTEN",
        11: "CLOSING",
    },
    reset_reasons={0: "NOT_SPECIFIED", 4: "TCP_STATE", 12: "TCP_ABORT_ON_CLOSE"},
    drop_reasons={33: "TCP_RFC7323_PAWS"},
    hz=250,
)
CONTAINER = "0123456789abcdef" * 4
GROUPS = {7: "/system.slice/nginx.service", 8: f"/system.slice/docker-{CONTAINER}.scope"}
CONTEXT = Context("box", 4026531840, NAMES, GROUPS.get)
# 2026-01-02T03:04:05Z at monotonic 0.
CLOCK = Clock(1767323045_000000000, 0)

START = 1_000_000_000
ORDINARY: dict[str, Any] = {
    "path": 0x21456,
    "at": [
        START,
        START + 1_500_000,
        START + 9_000_000,
        START + 9_250_000,
        START + 10_000_000,
        0,
        0,
    ],
    "comm": b"nginx",
    "pid": 1234,
    "uid": 33,
    "cgroup": 7,
    "netns": 4026531840,
    "family": 2,
    "local": "10.0.0.1",
    "remote": "10.0.0.2",
    "lport": 443,
    "rport": 51234,
    "flags": record.F_BORN | record.F_CLIENT | record.F_ADDR | record.F_CLOSED,
    "bytes_sent": 1000,
    "bytes_received": 2000,
    "rto": 51,
    "owner_from": record.Owner.CLOSE,
    "end": record.End.FIN,
}
SEVEN_PATHS = (0x21456, 0x31897, 0x217, 0x17, 0x2145, 0x31847, 0x14B6)


def packed(address: str) -> list[int]:
    """Sixteen bytes as the record has them."""
    return [*ip_address(address).packed.ljust(16, b"\0")]


def fill(row: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name in ("local", "remote"):
            row[name[0] + "addr"] = packed(value)
        else:
            row[name] = value


def blank_findings(count: int) -> Findings:
    """Orderly, by the application, with nothing else known."""
    dtypes = {"evidence": np.uint64, "missing": np.uint32, "hints": np.uint32}
    wide = ("limit_value", "limit_elapsed_ms")
    columns: dict[str, Any] = {
        field.name: np.zeros(
            count, np.int64 if field.name in wide else dtypes.get(field.name, "u1")
        )
        for field in dataclasses.fields(Findings)
    }
    for name in wide:
        columns[name] -= 1
    return Findings(**columns)


def closes(*rows: dict[str, Any], bare: bool = False) -> Closes:
    """Records that differ from ``ORDINARY`` (from zeros if ``bare``) in the given fields.

    Fields of ``Findings`` may be among them; a verdict may be given by its code.
    """
    table: NDArray[Any] = np.zeros(len(rows), record.CLOSE)
    findings = blank_findings(len(rows))
    judged = {field.name for field in dataclasses.fields(Findings)}
    for at, values in enumerate(rows):
        if not bare:
            fill(table[at], ORDINARY)
        for name, value in values.items():
            if name not in judged:
                fill(table[at], {name: value})
                continue
            number = (
                [verdict.code for verdict in VERDICTS].index(value) if name == "verdict" else value
            )
            getattr(findings, name)[at] = number
    return Closes(table, findings, CLOCK, CLOCK.to_wall_ns(ended_ns(table)))


def events(*rows: dict[str, Any]) -> Events:
    """Single events of the connection of ``ORDINARY``."""
    table: NDArray[Any] = np.zeros(len(rows), record.EVENT)
    for at, values in enumerate(rows):
        common = {name: ORDINARY[name] for name in ("comm", "pid", "cgroup", "netns", "family")}
        places = {name: ORDINARY[name] for name in ("local", "remote", "lport", "rport")}
        base = {"at": START, "flags": record.F_ADDR | record.F_SERVER, "rto": 50}
        fill(table[at], common | places | base | values)
    return Events(table, CLOCK)


def varied(count: int, seed: int = 1) -> Closes:
    """Records of all sorts: every field that reaches an output takes several values."""
    random = np.random.default_rng(seed)
    batch = closes(*[{}] * count)
    rows, findings = batch.rows, batch.findings

    def some(*values: Any) -> NDArray[Any]:
        return np.array(values)[random.integers(0, len(values), count)]

    rows["path"] = some(*SEVEN_PATHS)
    depth = (np.array([int(path).bit_length() for path in rows["path"]]) + 3) // 4
    steps = random.integers(100, 10**9, (count, record.PATH_MAX))
    at = START + np.cumsum(steps, axis=1)
    unseen = random.integers(0, 12, at.shape) == 0
    rows["at"] = np.where((np.arange(record.PATH_MAX) < depth[:, None]) & ~unseen, at, 0)
    rows["comm"] = some(b"nginx", b"", b'a"\\%s\n\x01', b"\xff\xfe%d", "é中".encode())
    rows["pid"] = some(0, 1, 4194304)
    rows["uid"] = some(0, 33, 65534)
    rows["cgroup"] = some(0, 7, 8, 99)
    six = some(False, False, True)
    rows["family"] = np.where(six, 10, 2)
    own = some(True, False)
    for end, mapped in (("laddr", "::ffff:192.0.2.1"), ("raddr", "::ffff:192.0.2.2")):
        rows[end] = np.where(six[:, None], packed("2001:db8::1"), packed("192.0.2.9"))
        rows[end][six & own] = packed(mapped)
    flag_sets = (
        ORDINARY["flags"],
        record.F_ADDR | record.F_SERVER | record.F_CLOSED | record.F_DONE,
        record.F_BORN | record.F_EXITING | record.F_MISSED,
        ORDINARY["flags"] | record.F_RST_OUT | record.F_RST_REASON | record.F_EXITING,
        ORDINARY["flags"] | record.F_RST_IN | record.F_RST_ACK_KNOWN | record.F_RST_ACK,
        ORDINARY["flags"] | record.F_RST_IN | record.F_RST_ACK_KNOWN,
    )
    rows["flags"] = some(*flag_sets)
    rows["ttl"], rows["rst_ttl"] = some(0, 63, 64), some(0, 64)
    rows["refused"], rows["refused_reason"] = some(0, 0, 1, 2, 255), some(0, 33, 77)
    rows["icmp_from"] = int.from_bytes(bytes(packed("192.0.2.77")[:4]), "little")
    rows["exit_code"] = some(0, 0x300, 9, 0x8B, 34)
    rows["reset_reason"] = some(0, 4, 12, 250)
    rows["owner_from"] = some(*(owner.value for owner in record.Owner))
    rows["layer"] = some(
        *(layer.value for layer in record.Layer if layer is not record.Layer.MPTCP)
    )
    for name, high in (("bytes_sent", 9), ("bytes_received", 2**40), ("total_retrans", 3)):
        rows[name] = random.integers(0, high, count)
    for name in ("fin_retrans", "backoff", "probes_out", "probing", "rto", "rcv_nxt", "copied_seq"):
        rows[name] = random.integers(0, 3, count)
    rows["write_seq"] = rows["snd_nxt"] = some(100, 101)
    rows["snd_una"] = some(100, 101, 90)
    rows["old_state"] = some(1, 2, 4, 9)
    rows["err"] = some(0, 104, 110)
    rows["traits"] = some(0, record.T_READ, record.T_READ | record.T_QUIET, 0xFF)
    for name in ("quiet", "since_sent", "since_received", "rtt_min"):
        rows[name] = some(0, 1, 250, 3 << 20, record.SINCE_UNKNOWN)
    for name, high in (
        ("srtt", 1 << 14),
        ("bytes_acked", 9),
        ("segs_in", 1 << 30),
        ("mss", 1 << 16),
    ):
        rows[name] = random.integers(0, high, count)

    for name, length in (
        ("verdict", len(VERDICTS)),
        ("form", len(FORMS)),
        ("first_close", len(FIRST_CLOSE)),
        ("closed_by", len(CLOSED_BY)),
        ("time_wait", len(TIME_WAIT)),
        ("confidence", len(CONFIDENCE)),
        ("reset_direction", len(RESET_DIRECTIONS)),
        ("limit", len(LIMITS)),
    ):
        getattr(findings, name)[:] = random.integers(0, length, count)
    findings.form[:] = np.where(random.integers(0, 4, count) == 0, UNKNOWN, findings.form)
    findings.closed_by[:] = np.where(random.integers(0, 4, count) == 0, UNKNOWN, findings.closed_by)
    findings.evidence[:] = random.integers(0, 2 ** min(len(EVIDENCE), 62), count)
    findings.missing[:] = random.integers(0, 2 ** len(MISSING), count)
    findings.limit_value[:] = some(-1, 0, 15)
    findings.limit_elapsed_ms[:] = some(-1, 0, 924600)
    findings.error[:] = some(0, 104, 110, 250)
    findings.hints[:] = np.where(own, 0, random.integers(0, 2 ** len(HINTS), count))
    return batch
