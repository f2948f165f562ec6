# SPDX-License-Identifier: Apache-2.0
"""Hints of several connections: what they remember, and that only the order of rows decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.hint_rows import CLIENT, NEVER, READ, RESET, SECOND, SERVER
from tests.unit.sink_rows import CLOCK, NAMES, closes, packed, varied
from tracetw.event.record import (
    F_RST_ACK,
    F_RST_ACK_KNOWN,
)
from tracetw.stream.batch import Closes, ended_ns
from tracetw.verdict import hint_text
from tracetw.verdict.habits import Habits
from tracetw.verdict.hinted import LOCAL, REMOTE, RST_RECEIVED
from tracetw.verdict.hints import HINT_BIT, hint_names
from tracetw.verdict.judge import judge
from tracetw.verdict.taxonomy import CLOSED_BY, FORMS, VERDICT_INDEX


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


@pytest.mark.parametrize(
    ("end", "sent", "received", "holds"),
    [
        # A client that closes before the answer, at both ends; one that was answered.
        ({**CLIENT}, 2, NEVER, False),
        ({**CLIENT}, 2, 3, False),
        ({**CLIENT}, 3, 2, True),
        ({**CLIENT}, 2, 2, True),
        ({**SERVER, "first_close": REMOTE}, NEVER, 2, False),
        ({**SERVER, "first_close": REMOTE}, 2, 3, True),
        # A server that closes a stream to it.
        ({**SERVER}, NEVER, 2, True),
        ({**CLIENT, "first_close": REMOTE}, 2, NEVER, True),
    ],
)
def test_a_client_that_waits_for_an_answer_is_not_idle(
    end: dict[str, Any], sent: int, received: int, *, holds: bool
) -> None:
    since = {
        name: value if value == NEVER else value * SECOND
        for name, value in (("since_sent", sent), ("since_received", received))
    }
    assert remembered(closes(*[{**end, **since}] * 3))[-1] == (IDLE if holds else ())


def test_a_reset_after_our_fin_is_our_own_timeout() -> None:
    """The peer answers the close of an idle connection with RST: nothing points to a timeout of the peer."""
    reset = {"form": RST_RECEIVED, "verdict": "peer-reset"}
    ours = idle(5, 5, 5, **reset)
    assert remembered(ours)[-1] == IDLE
    mask = HINT_BIT["idle-timeout"]
    text = hint_text.phrase(mask, LOCAL, RST_RECEIVED)
    assert text == hint_text.phrase(mask, LOCAL, 0)
    assert text != hint_text.phrase(mask, REMOTE, RST_RECEIVED)


def test_idle_times_of_different_services_are_different() -> None:
    assert remembered(idle(2, 2), idle(2, lport=8080)) == [(), (), ()]
    assert remembered(idle(2, 2), idle(2, netns=7)) == [(), (), ()]
    assert remembered(idle(2, 2), idle(2, first_close=REMOTE)) == [(), (), ()]
    assert remembered(idle(2, 2), idle(2, closed_by=CLOSED_BY.index("process-exit"))) == [()] * 3
    assert remembered(idle(2, 2), idle(2, remote="10.0.0.9")) == [(), (), IDLE]


SILENT = {
    **CLIENT,
    "verdict": "user-timeout",
    "form": FORMS.index("timeout"),
    "since_received": 4 * SECOND,
    "quiet": 4 * SECOND,
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
        ({}, {"since_received": 2 * SECOND, "quiet": 2 * SECOND}, False),
        # What this side sent meanwhile was acknowledged.
        ({}, {"quiet": SECOND // 10}, False),
        # As long as two timeouts may have passed before the first repetition.
        ({}, {"rto": 6 * SECOND, "backoff": 2}, True),
        ({}, {"rto": 7 * SECOND, "backoff": 2}, False),
        ({}, {"quiet": int(2.9 * SECOND)}, True),
        ({}, {"quiet": int(2.8 * SECOND)}, False),
        ({}, {"limit_elapsed_ms": -1}, False),
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
LOOPBACK = {"local": "127.0.0.1", "remote": "127.0.0.1"}


@pytest.mark.parametrize(
    ("sender", "receiver", "holds"),
    [
        ({}, {}, True),
        ({}, {"family": 10, "local": "::ffff:10.0.0.2", "remote": "::ffff:10.0.0.1"}, True),
        ({"verdict": "abort-linger"}, {}, False),
        ({"reset_direction": 0}, {}, False),
        ({}, {"lport": 51235}, False),
        ({"netns": 7}, {}, True),
        (LOOPBACK, LOOPBACK, True),
        ({**LOOPBACK, "netns": 7}, LOOPBACK, False),
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
