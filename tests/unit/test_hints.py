# SPDX-License-Identifier: Apache-2.0
"""Hints: the table is whole, each has its scenario and its near miss, the boundaries, and several connections."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.unit.recording_files import everything, golden
from tests.unit.sink_rows import CLOCK, NAMES, closes, packed, varied
from tracetw.event import record
from tracetw.event.record import (
    F_ADDR,
    F_BORN,
    F_CLIENT,
    F_CLOSED,
    F_DEAD,
    F_DONE,
    F_OWNED,
    F_RST_ACK,
    F_RST_ACK_KNOWN,
    F_SERVER,
    F_SOCKET,
    T_FULL_LOST,
    T_PART_LOST,
    T_QUIET,
    T_READ,
    T_SACKED,
    T_URGENT,
)
from tracetw.lab.catalogue import SCENARIOS
from tracetw.lab.expect.match import EVERYTHING, resolved
from tracetw.lab.expect.scenario import as_lines
from tracetw.stream.batch import Closes, ended_ns
from tracetw.verdict import hint_text
from tracetw.verdict.habits import Habits
from tracetw.verdict.hinted import LOCAL, REMOTE, RST_RECEIVED, hinted
from tracetw.verdict.hints import HINT_BIT, HINTS, hint_names
from tracetw.verdict.judge import judge
from tracetw.verdict.taxonomy import CLOSED_BY, FORMS, VERDICT_INDEX

CODES = [hint.code for hint in HINTS]
NEVER = record.SINCE_UNKNOWN
SECOND = 250
"""Jiffies of NAMES."""
BOTH = F_BORN | F_ADDR | F_CLOSED
READ = T_READ | T_QUIET
SERVER: dict[str, Any] = {"flags": BOTH | F_SERVER | F_SOCKET, "traits": READ, "first_close": LOCAL}
CLIENT: dict[str, Any] = {"flags": BOTH | F_CLIENT | F_SOCKET, "traits": READ, "first_close": LOCAL}
UNREAD: dict[str, Any] = {
    **SERVER,
    "flags": BOTH | F_SERVER | F_SOCKET | F_OWNED,
    "verdict": "abort-unread",
    "old_state": 1,
}
RESET: dict[str, Any] = {
    "form": RST_RECEIVED,
    "verdict": "peer-reset",
    "old_state": 1,
    "first_close": REMOTE,
}
LOST: dict[str, Any] = {
    **CLIENT,
    "verdict": "retransmit-exhausted",
    "old_state": 1,
    "mss": 1448,
    "total_retrans": 5,
    "snd_nxt": 3000,
    "write_seq": 3000,
    "bytes_acked": 11,
}


@pytest.mark.parametrize("code", CODES)
def test_every_hint_has_a_scenario_and_a_near_miss(code: str) -> None:
    sides = [
        [line["hints"] for line in as_lines(resolved(side, EVERYTHING)) if "hints" in line]
        for scenario in SCENARIOS
        for side in (scenario.a, scenario.b)
    ]
    mine = [hints for hints in sides if [code] in hints]
    assert mine, f"no scenario shows {code}"
    assert any([] in hints for hints in mine), f"no near miss stands beside {code}"


@pytest.mark.parametrize("hint", HINTS, ids=CODES)
def test_texts_of_a_hint(hint: Any) -> None:
    for phrase in hint.phrases.values():
        assert phrase.isascii()
        assert not set(phrase) & set("%\"\\'")
        assert phrase.endswith(".")
        assert "  " not in phrase
        for column in re.findall(r"\{(\w+)\}", phrase):
            assert column in hint_text.COLUMNS
    assert set(hint.phrases) in ({""}, {"local", "remote"}, {"local", "remote", "reset"})
    assert hint.holds.endswith(".")
    assert hint.advice.endswith((".", ")."))


def found(**row: Any) -> tuple[str, ...]:
    batch = closes(row)
    for name in ("since_sent", "since_received", "quiet"):
        if name not in row:
            batch.rows[name] = NEVER
    return hint_names(int(hinted(batch.rows, batch.findings, NAMES)[0]))


@pytest.mark.parametrize(("unread", "holds"), [(23, False), (24, True), (31, True), (32, False)])
def test_as_long_as_a_close_notify(unread: int, *, holds: bool) -> None:
    row = {**UNREAD, "rcv_nxt": unread + 1}
    assert ("after-peer-fin" in found(**{**row, "flags": UNREAD["flags"] | F_DONE})) is holds
    assert "after-peer-fin" not in found(**row)


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"since_sent": SECOND + 1}, False),
        ({"since_sent": NEVER}, False),
        ({"traits": T_READ}, False),
        ({"flags": UNREAD["flags"] | F_DONE}, False),
        ({"verdict": "abort-linger"}, False),
        ({"bytes_sent": 0}, False),
    ],
)
def test_an_answer_that_the_reset_overtakes(change: dict[str, Any], *, holds: bool) -> None:
    row = {**UNREAD, "rcv_nxt": 1000, "since_sent": SECOND, **change}
    assert ("answer-unread-at-the-peer" in found(**row)) is holds


@pytest.mark.parametrize(("rcv_nxt", "holds"), [(1, True), (2, False)])
def test_only_the_urgent_byte(rcv_nxt: int, *, holds: bool) -> None:
    row = {**UNREAD, "rcv_nxt": rcv_nxt, "traits": READ | T_URGENT}
    assert ("urgent-byte" in found(**row)) is holds
    assert "urgent-byte" not in found(**{**row, "traits": READ})


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"since_sent": SECOND // 2 - 1}, False),
        ({"since_received": 2 * SECOND}, True),
        ({"since_received": SECOND}, False),
        ({"since_received": 1}, False),
        ({"write_seq": 1, "snd_nxt": 1}, False),
        ({"first_close": REMOTE}, False),
        ({"flags": SERVER["flags"]}, False),
    ],
)
def test_waited_for_an_answer(change: dict[str, Any], *, holds: bool) -> None:
    row = {**CLIENT, "verdict": "abort-linger", "since_sent": SECOND, **change}
    assert ("waited-for-answer" in found(**row)) is holds


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"since_sent": SECOND // 2 - 1, "since_received": SECOND}, False),
        ({"since_received": SECOND // 2}, False),
        ({"verdict": "abort-unread"}, False),
    ],
)
def test_a_request_that_met_our_close(change: dict[str, Any], *, holds: bool) -> None:
    row = {
        **SERVER,
        "verdict": "abort-late-data",
        "since_sent": SECOND,
        "since_received": SECOND,
        **change,
    }
    assert ("keepalive-race" in found(**row)) is holds


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"since_received": SECOND // 2 - 1}, False),
        ({"snd_nxt": 0, "write_seq": 0}, False),
        ({"flags": CLIENT["flags"]}, False),
    ],
)
def test_a_request_of_ours_that_met_their_close(change: dict[str, Any], *, holds: bool) -> None:
    row = {
        **CLIENT,
        **RESET,
        "flags": CLIENT["flags"] | F_DONE,
        "since_sent": SECOND,
        "since_received": SECOND,
        "snd_nxt": 9,
        "write_seq": 9,
        **change,
    }
    assert ("keepalive-race" in found(**row)) is holds


@pytest.mark.parametrize(
    ("flags", "holds"),
    [
        (BOTH | F_SERVER, True),
        (BOTH | F_SERVER | F_SOCKET, False),
        (BOTH | F_SERVER | F_DEAD, False),
        (BOTH | F_CLIENT, False),
    ],
)
def test_reset_before_accept(flags: int, *, holds: bool) -> None:
    assert ("reset-before-accept" in found(**{**RESET, "flags": flags})) is holds


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"flags": CLIENT["flags"] | F_RST_ACK_KNOWN | F_RST_ACK}, False),
        ({"flags": CLIENT["flags"]}, False),
        ({"snd_nxt": 1, "write_seq": 1}, False),
        ({"probes_out": 1}, False),
        ({"since_sent": 1}, False),
    ],
)
def test_a_reset_that_answers_nothing(change: dict[str, Any], *, holds: bool) -> None:
    flags = CLIENT["flags"] | F_RST_ACK_KNOWN
    row = {**CLIENT, **RESET, "flags": flags, "since_sent": SECOND, **change}
    assert ("stray-segment-reset" in found(**row)) is holds


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({"traits": READ | T_FULL_LOST}, True),
        ({"traits": READ | T_FULL_LOST | T_PART_LOST}, False),
        ({"traits": READ | T_FULL_LOST | T_PART_LOST | T_SACKED}, True),
        ({"traits": READ | T_FULL_LOST | T_SACKED, "snd_nxt": 2896, "bytes_acked": 1}, False),
        ({"traits": READ | T_FULL_LOST, "bytes_acked": 1449}, False),
        ({"traits": READ | T_FULL_LOST, "bytes_acked": 1}, False),
        ({"traits": READ | T_PART_LOST}, False),
        ({"traits": READ | T_FULL_LOST, "flags": F_ADDR | F_CLOSED | F_CLIENT}, False),
        ({"traits": READ | T_FULL_LOST, "total_retrans": 1}, False),
        ({"traits": READ | T_FULL_LOST, "snd_nxt": 1447}, False),
    ],
)
def test_only_full_segments(change: dict[str, Any], *, holds: bool) -> None:
    assert ("only-full-segments-lost" in found(**{**LOST, **change})) is holds


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"bytes_acked": 2}, False),
        ({"bytes_received": 1}, False),
        ({"total_retrans": 0}, False),
        ({"old_state": 2}, False),
        ({"bytes_sent": 0}, False),
        ({"traits": 0}, False),
    ],
)
def test_nothing_acknowledged(change: dict[str, Any], *, holds: bool) -> None:
    row = {**LOST, "bytes_acked": 1, "bytes_received": 0, **change}
    assert ("nothing-ever-acknowledged" in found(**row)) is holds


def test_connected_to_itself() -> None:
    row = {**CLIENT, "lport": 40_000, "rport": 40_000, "local": "10.0.0.1"}
    assert "connected-to-itself" in found(**row, remote="10.0.0.1")
    assert "connected-to-itself" not in found(**row, remote="10.0.0.2")
    assert "connected-to-itself" not in found(**{**row, "lport": 0, "rport": 0}, remote="10.0.0.1")


def idle(*seconds: float, **more: Any) -> Closes:
    rows = [
        {**SERVER, "since_sent": int(each * SECOND), "since_received": NEVER, **more}
        for each in seconds
    ]
    return closes(*rows)


def remembered(*batches: Closes) -> list[tuple[str, ...]]:
    habits = Habits(NAMES)
    masks: list[int] = []
    for batch in batches:
        masks += habits.add(batch.rows, batch.findings, ended_ns(batch.rows)).tolist()
    return [hint_names(mask) for mask in masks]


IDLE = ("idle-timeout",)


def test_the_same_idle_time_again_and_again() -> None:
    assert remembered(idle(2, 2.04, 2, 2)) == [(), (), IDLE, IDLE]
    assert remembered(idle(2, 2), idle(2)) == [(), (), IDLE]
    assert remembered(idle(2, 2, 3, 2)) == [(), (), (), ()]
    assert remembered(idle(0.9, 0.9, 0.9)) == [(), (), ()]
    assert remembered(idle(60, 61, 61.5, 63)) == [(), (), IDLE, ()]


def test_idle_times_of_different_services_are_different() -> None:
    assert remembered(idle(2, 2), idle(2, lport=8080)) == [(), (), ()]
    assert remembered(idle(2, 2), idle(2, netns=7)) == [(), (), ()]
    assert remembered(idle(2, 2), idle(2, first_close=REMOTE)) == [(), (), ()]
    assert remembered(idle(2, 2), idle(2, closed_by=CLOSED_BY.index("process-exit"))) == [()] * 3
    assert remembered(idle(2, 2), idle(2, remote="10.0.0.9")) == [(), (), IDLE]


SILENT = {
    **CLIENT,
    "verdict": "user-timeout",
    "since_received": 4 * SECOND,
    "limit_elapsed_ms": 500,
}
WHEN = [90_000_000_000 + at for at in range(5)] + [0, 0]
BEFORE = [85_000_000_000 + at for at in range(5)] + [0, 0]
FORGOTTEN = ("forgotten-on-the-path",)


@pytest.mark.parametrize(
    ("fine", "silent", "holds"),
    [
        ({}, {}, True),
        ({"remote": "10.0.0.9"}, {}, False),
        ({"netns": 7}, {}, False),
        ({"verdict": "peer-reset"}, {}, False),
        ({"at": BEFORE}, {}, False),
        ({}, {"since_received": 2 * SECOND}, False),
        ({}, {"since_received": NEVER}, False),
        ({}, {"verdict": "abort-linger"}, False),
        ({}, {**RESET, "flags": CLIENT["flags"] | F_RST_ACK_KNOWN}, True),
        ({}, {**RESET, "flags": CLIENT["flags"] | F_RST_ACK_KNOWN | F_RST_ACK}, False),
    ],
)
def test_forgotten_while_others_go_on(
    fine: dict[str, Any], silent: dict[str, Any], *, holds: bool
) -> None:
    pair = [
        closes({"verdict": "orderly", "at": WHEN, **fine}),
        closes({**SILENT, "at": WHEN, **silent}),
    ]
    assert (FORGOTTEN in remembered(*pair)) is holds
    assert FORGOTTEN not in remembered(*reversed(pair))


@pytest.mark.parametrize(("others", "holds"), [(0, True), (15, True), (16, False)])
def test_of_many_at_once_some_are_remembered(others: int, *, holds: bool) -> None:
    """So a storm costs nothing; those of one tick may come in several batches."""
    crowd = [{"verdict": "orderly", "at": WHEN, "remote": "10.0.0.9"}] * others
    last = closes({"verdict": "orderly", "at": WHEN}, {**SILENT, "at": WHEN})
    assert (FORGOTTEN in remembered(*(closes(one) for one in crowd), last)) is holds
    if crowd:
        assert (FORGOTTEN in remembered(closes(*crowd), last)) is holds


SENDER = {
    "verdict": "abort-late-data",
    "reset_direction": 1,
    "form": FORMS.index("rst-sent"),
    "at": WHEN,
}
RECEIVER = {
    **RESET,
    "local": "10.0.0.2",
    "remote": "10.0.0.1",
    "lport": 51234,
    "rport": 443,
    "at": WHEN,
}
OTHER = ("peer-record",)


@pytest.mark.parametrize(
    ("sender", "receiver", "holds"),
    [
        ({}, {}, True),
        ({}, {"family": 10, "local": "::ffff:10.0.0.2", "remote": "::ffff:10.0.0.1"}, True),
        ({"verdict": "abort-linger"}, {}, False),
        ({"reset_direction": 0}, {}, False),
        ({}, {"lport": 51235}, False),
        ({}, {"remote": "10.0.0.9"}, False),
        ({"at": BEFORE}, {}, False),
        ({}, {"form": FORMS.index("timeout")}, False),
    ],
)
def test_the_other_end_says_why(
    sender: dict[str, Any], receiver: dict[str, Any], *, holds: bool
) -> None:
    pair = [closes({**SENDER, **sender}), closes({**RECEIVER, **receiver})]
    assert (OTHER in remembered(*pair)) is holds
    late = VERDICT_INDEX["abort-late-data"]
    assert bool(pair[1].findings.peer_verdict[0] == late) is holds
    both = closes({**SENDER, **sender}, {**RECEIVER, **receiver})
    assert (OTHER in remembered(both)) is holds
    assert OTHER not in remembered(*reversed(pair))


def test_what_is_remembered_depends_on_the_order_alone() -> None:
    random = np.random.default_rng(3)
    batch = varied(600)
    rows = batch.rows
    rows["traits"] = READ
    rows["since_sent"] = random.choice([400, 401, 900, NEVER], len(rows))
    rows["since_received"] = random.choice([1200, 1201, NEVER], len(rows))
    rows["laddr"] = rows["raddr"] = packed("192.0.2.9")
    batch.findings.form[:] = random.choice([RST_RECEIVED, 0], len(rows))
    findings = judge(rows, NAMES, lossy=False)
    batch = Closes(rows, findings, CLOCK, batch.at)
    whole = remembered(batch)
    assert len({*whole}) > 1
    for size in (1, 7, 100):
        assert remembered(*batch.parts(size)) == whole


def test_older_recordings_have_no_hint_that_needs_a_new_fact() -> None:
    rows = everything(golden())
    names = golden().header.names
    hints = hinted(rows, judge(rows, names, lossy=False), names)
    old = HINT_BIT["reset-before-accept"] | HINT_BIT["after-peer-fin"]
    assert not (hints & ~np.uint32(old)).any()
