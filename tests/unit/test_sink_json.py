# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.unit.sink_rows import (
    CONTAINER,
    CONTEXT,
    GROUPS,
    NAMES,
    ORDINARY,
    START,
    closes,
    events,
)
from tracetw.event import record
from tracetw.sink.json import JsonSink
from tracetw.stream.batch import Closes, Events, Loss, Summary
from tracetw.verdict.evidence import EVIDENCE
from tracetw.verdict.findings import UNKNOWN

MEMBERS = (
    *("idle_ms", "since_sent_ms", "since_received_ms", "bytes_acked", "bytes_unsent"),
    *("segments_received", "mss", "keepalive", "rtt_ms", "min_rtt_ms"),
)
COMMON = ("v", "kind", "time", "host", "netns")
CLOSE_FIELDS = (
    *COMMON,
    *("family", "local", "remote", "role", "pid", "comm", "uid", "cgroup", "unit"),
    *("container", "listener"),
    *("owner_from", "layer", "mptcp"),
    *("first_close", "form", "verdict", "closed_by", "exit", "time_wait", "states"),
    *("duration_ms", "teardown_ms", "half_closed_ms", "bytes_sent", "bytes_received"),
    *(
        "bytes_unread",
        "bytes_unacked",
        *MEMBERS,
        "ttl",
        "retransmits",
        "probes",
        "refused",
        "limit",
        "reset",
        "error",
        "icmp_from",
        "why",
        "hints",
        "evidence",
    ),
    "confidence",
)
EVENT_COMMON = (
    *COMMON,
    *(
        "family",
        "local",
        "remote",
        "role",
        "pid",
        "comm",
        "cgroup",
        "unit",
        "container",
        "owner_from",
    ),
)


def written(batch: Closes | Events, sink_runs: int = 1) -> list[dict[str, Any]]:
    out = io.BytesIO()
    sink = JsonSink(out, CONTEXT)
    for _ in range(sink_runs):
        if isinstance(batch, Closes):
            sink.closes(batch)
        else:
            sink.events(batch)
    text = out.getvalue().decode("utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_an_ordinary_close_has_exactly_the_fields_of_the_contract() -> None:
    (line,) = written(closes({"evidence": 1 << 7}))
    why = line.pop("why")
    assert isinstance(why, str)
    assert why.endswith(".")
    assert tuple(line) == tuple(name for name in CLOSE_FIELDS if name != "why")
    assert line == {
        "v": 1,
        "kind": "close",
        "time": "2026-01-02T03:04:06.010000000Z",
        "host": "box",
        "netns": 4026531840,
        "family": 4,
        "local": {"addr": "10.0.0.1", "port": 443, "name": None},
        "remote": {"addr": "10.0.0.2", "port": 51234, "name": None},
        "role": "client",
        "pid": 1234,
        "comm": "nginx",
        "uid": 33,
        "cgroup": "/system.slice/nginx.service",
        "unit": "nginx.service",
        "container": None,
        "listener": None,
        "owner_from": "close",
        "layer": None,
        "mptcp": None,
        "first_close": "none",
        "form": "fin-4",
        "verdict": "orderly",
        "closed_by": "app",
        "exit": None,
        "time_wait": "none",
        "states": [
            {"state": "SYN_SENT", "at_ms": 0.0},
            {"state": "ESTABLISHED", "at_ms": 1.5},
            {"state": "FIN_WAIT1", "at_ms": 9.0},
            {"state": "FIN_WAIT2", "at_ms": 9.25},
            {"state": "TIME_WAIT", "at_ms": 10.0},
        ],
        "duration_ms": 10.0,
        "teardown_ms": 1.0,
        "half_closed_ms": 1.0,
        "bytes_sent": 1000,
        "bytes_received": 2000,
        "bytes_unread": 0,
        "bytes_unacked": 0,
        **dict.fromkeys(MEMBERS),
        "bytes_unsent": 0,
        "ttl": None,
        "retransmits": {"total": 0, "fin": 0, "last_rto_ms": 204, "backoff": 0},
        "probes": {"total": 0, "what": None},
        "refused": None,
        "limit": None,
        "reset": None,
        "error": None,
        "icmp_from": None,
        "hints": [],
        "evidence": [[*EVIDENCE][7]],
        "confidence": "proven",
    }


def test_what_is_unknown_is_null() -> None:
    unknown = {"form": UNKNOWN, "closed_by": UNKNOWN, "verdict": "undetermined"}
    (line,) = written(closes(unknown, bare=True))
    assert set(line) == set(CLOSE_FIELDS)
    assert [name for name in MEMBERS if line[name] is not None] == []
    nowhere = {"addr": None, "port": None, "name": None}
    assert (line["local"], line["remote"]) == (nowhere, nowhere)
    for name in (
        *("time", "family", "role", "pid", "comm", "cgroup", "unit", "container", "owner_from"),
        *("listener", "form"),
        *("closed_by", "exit", "duration_ms", "teardown_ms", "bytes_unread", "bytes_unacked"),
        *("limit", "reset", "error", "ttl", "refused", "icmp_from"),
    ):
        assert line[name] is None, name
    assert line["retransmits"]["last_rto_ms"] is None
    assert (line["states"], line["evidence"]) == ([], [])


def test_a_connection_older_than_the_trace_has_no_duration() -> None:
    flags = ORDINARY["flags"] & ~record.F_BORN
    (line,) = written(closes({"path": 0x456, "at": [*ORDINARY["at"][2:], 0, 0], "flags": flags}))
    assert line["duration_ms"] is None
    assert line["teardown_ms"] == 1.0
    assert [state["at_ms"] for state in line["states"]] == [0.0, 0.25, 1.0]


@pytest.mark.parametrize(
    ("comm", "shown"),
    [
        (b'a"b\\c', 'a"b\\c'),
        (b"100%s %d %", "100%s %d %"),
        (b"two\nlines\t\x01", "two\nlines\t\x01"),
        (b"\xff\xfeX", "\\xff\\xfeX"),
        ("é中".encode(), "é中"),
    ],
)
def test_hostile_command_names(comm: bytes, shown: str) -> None:
    (line,) = written(closes({"comm": comm}))
    assert line["comm"] == shown


def test_v4_mapped_addresses_are_shown_as_v4() -> None:
    mapped, real = written(
        closes(
            {"family": 10, "local": "::ffff:192.0.2.1", "remote": "::ffff:192.0.2.2"},
            {"family": 10, "local": "2001:db8::1", "remote": "fe80::2"},
        )
    )
    assert (mapped["family"], mapped["local"]["addr"], mapped["remote"]["addr"]) == (
        4,
        "192.0.2.1",
        "192.0.2.2",
    )
    assert (real["family"], real["local"]["addr"], real["remote"]["addr"]) == (
        6,
        "2001:db8::1",
        "fe80::2",
    )


def test_container_and_unknown_group() -> None:
    inside, unknown = written(closes({"cgroup": 8}, {"cgroup": 99}))
    assert (inside["cgroup"], inside["container"]) == (GROUPS[8], CONTAINER)
    assert (unknown["cgroup"], unknown["container"]) == (None, None)


def test_a_group_that_becomes_known_later_is_shown_then() -> None:
    out = io.BytesIO()
    paths: dict[int, str] = {}
    sink = JsonSink(out, type(CONTEXT)("box", 1, NAMES, paths.get))
    sink.closes(closes({"cgroup": 5}))
    paths[5] = "/user.slice"
    sink.closes(closes({"cgroup": 5}))
    assert [json.loads(line)["cgroup"] for line in out.getvalue().splitlines()] == [
        None,
        "/user.slice",
    ]


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        (0x300, {"code": 3}),
        (9, {"signal": "SIGKILL", "core": False}),
        (0x8B, {"signal": "SIGSEGV", "core": True}),
    ],
)
def test_exit_of_a_dead_process(code: int, shown: dict[str, Any]) -> None:
    flags = ORDINARY["flags"] | record.F_EXITING
    (line,) = written(closes({"flags": flags, "exit_code": code}))
    assert line["exit"] == shown


def test_reset_reasons_of_the_kernel_and_inferred_ones() -> None:
    base = {"verdict": "abort-unread", "reset_direction": 1}
    sent = ORDINARY["flags"] | record.F_RST_OUT
    known, vague, new = (
        base | {"flags": sent | record.F_RST_REASON, "reset_reason": number}
        for number in (12, 0, 250)
    )
    received = {
        "verdict": "peer-reset",
        "reset_direction": 2,
        "flags": ORDINARY["flags"] | record.F_RST_IN | record.F_RST_ACK_KNOWN,
    }
    lines = written(closes(known, vague, new, received))
    assert [(line["reset"]["reason"], line["reset"]["reason_from"]) for line in lines] == [
        ("TCP_ABORT_ON_CLOSE", "kernel"),
        ("abort-unread", "inferred"),
        ("abort-unread", "inferred"),
        ("peer-reset", "inferred"),
    ]
    assert [line["reset"]["ack_flag"] for line in lines] == [True, True, True, False]
    assert [line["reset"]["direction"] for line in lines] == ["sent"] * 3 + ["received"]


def test_large_batches_keep_their_order() -> None:
    batch = closes(*[{}] * 5000)
    batch.rows["rport"] = range(1000, 6000)
    assert [line["remote"]["port"] for line in written(batch)] == [*range(1000, 6000)]


def test_an_empty_batch_writes_nothing() -> None:
    assert written(closes()) == []
    assert written(events()) == []


def test_why_a_listener_did_it() -> None:
    reset, cookie = record.Drop.EMBRYONIC_RESET, record.Drop.SYN_COOKIE
    rows = [
        (reset, record.F_RST_IN, "rst"),
        (reset, record.F_SYN_HIT, "syn"),
        (reset, 0, "ack"),
        (cookie, record.F_SYSCTL, "sysctl"),
        (cookie, 0, "requests"),
        (record.Drop.REQUEST_QUEUE_FULL, 0, None),
    ]
    lines = written(
        events(
            *(
                {"kind": record.EventKind.DROP, "code": code, "from": 10, "flags": flags}
                for code, flags, _ in rows
            )
        )
    )
    assert [line["cause"] for line in lines] == [cause for *_, cause in rows]


def test_events() -> None:
    lines = written(
        events(
            {"kind": record.EventKind.TRANSITION, "from": 1, "to": 4},
            {"kind": record.EventKind.RETRANSMIT, "from": 4, "code": record.What.FIN, "backoff": 2},
            {
                "kind": record.EventKind.TIMEWAIT,
                "code": record.Timewait.REUSED_BY_CONNECT,
                "born": START - 2_500_000,
            },
            {
                "kind": record.EventKind.DROP,
                "code": record.Drop.PAWS_TIMEWAIT,
                "reason": 33,
                "pid": 0,
                "comm": b"",
                "flags": 0,
            },
            {
                "kind": record.EventKind.DROP,
                "code": record.Drop.ACCEPT_QUEUE_FULL,
                "from": 10,
                "queued": 6,
                "backlog": 5,
            },
        )
    )
    own = [{name: line[name] for name in line if name not in EVENT_COMMON} for line in lines]
    assert own == [
        {"from": "ESTABLISHED", "to": "FIN_WAIT1"},
        {"state": "FIN_WAIT1", "what": "fin", "backoff": 2, "rto_ms": 200},
        {"event": "reused-by-connect", "age_ms": 2.5},
        {
            "event": "paws-timewait",
            "age_ms": None,
            "reason": "TCP_RFC7323_PAWS",
            "queued": None,
            "backlog": None,
            "cause": None,
        },
        {
            "event": "accept-queue-full",
            "age_ms": None,
            "reason": None,
            "queued": 6,
            "backlog": 5,
            "cause": None,
        },
    ]
    assert [line["kind"] for line in lines] == [
        "transition",
        "retransmit",
        "timewait",
        "drop",
        "drop",
    ]
    for line in lines:
        assert tuple(line)[: len(EVENT_COMMON)] == EVENT_COMMON
    first, last = lines[0], lines[3]
    assert (first["pid"], first["comm"], first["role"]) == (1234, "nginx", "server")
    assert first["local"] == {"addr": "10.0.0.1", "port": 443, "name": None}
    assert (last["pid"], last["comm"], last["family"]) == (None, None, None)
    assert last["local"] == {"addr": None, "port": None, "name": None}


def test_loss_and_summary() -> None:
    out = io.BytesIO()
    sink = JsonSink(out, CONTEXT)
    sink.loss(Loss(3, "ring buffer full", 10**18, 10**18 + 1))
    row = {"counter": "TW", "kernel": 2, "explained": 2, "difference": 0, "reason": None}
    sink.summary(Summary(10**18, 1.5, {"orderly": 2}, 3, [row]))  # type: ignore[list-item]
    loss, summary = map(json.loads, out.getvalue().splitlines())
    assert tuple(loss)[: len(COMMON)] == tuple(summary)[: len(COMMON)] == COMMON
    assert (loss["kind"], loss["records"], loss["where"]) == ("loss", 3, "ring buffer full")
    assert loss["since"] == "2001-09-09T01:46:40.000000000Z"
    assert summary["kind"] == "summary"
    assert summary["netns"] == CONTEXT.netns
    assert (summary["closes"], summary["lost"]) == ({"orderly": 2}, 3)
    assert summary["reconciliation"] == [row]
