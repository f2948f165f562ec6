# SPDX-License-Identifier: Apache-2.0
"""Hints: the table is whole, each has its scenario and its near miss, and the boundaries."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.unit.hint_rows import BOTH, CLIENT, LOST, NEVER, READ, RESET, SECOND, SERVER, UNREAD
from tests.unit.recording_files import everything, golden
from tests.unit.sink_rows import NAMES, closes
from tracetw.event.record import (
    F_ADDR,
    F_CLIENT,
    F_CLOSED,
    F_DEAD,
    F_DONE,
    F_RST_ACK,
    F_RST_ACK_KNOWN,
    F_SERVER,
    F_SOCKET,
    T_FULL_LOST,
    T_PART_LOST,
    T_READ,
    T_SACKED,
    T_URGENT,
)
from tracetw.lab.catalogue import SCENARIOS
from tracetw.lab.expect.match import EVERYTHING, resolved
from tracetw.lab.expect.scenario import as_lines
from tracetw.verdict import hint_text
from tracetw.verdict.hinted import REMOTE, hinted
from tracetw.verdict.hints import HINT_BIT, HINTS, hint_names
from tracetw.verdict.judge import judge

CODES = [hint.code for hint in HINTS]


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
        ({"flags": CLIENT["flags"]}, False),
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
        ({"flags": SERVER["flags"]}, False),
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


def test_older_recordings_have_no_hint_that_needs_a_new_fact() -> None:
    rows = everything(golden())
    names = golden().header.names
    hints = hinted(rows, judge(rows, names, lossy=False), names)
    old = HINT_BIT["reset-before-accept"] | HINT_BIT["after-peer-fin"]
    assert not (hints & ~np.uint32(old)).any()
