# SPDX-License-Identifier: Apache-2.0
"""What the kernel must have counted, from records and findings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tracetw.event import record
from tracetw.event.fields import State
from tracetw.event.names import KernelNames
from tracetw.event.record import CLOSE, EVENT, Drop, End, EventKind, Stat, Timewait
from tracetw.reconcile.tally import HOST, UNCLEAR, Explained, Tally
from tracetw.verdict.findings import Findings
from tracetw.verdict.taxonomy import TIME_WAIT, VERDICT_INDEX

HZ = 250
NETNS = 4026531840
NAMES = KernelNames({}, {}, {46: "TCP_INVALID_SYN", 45: "TCP_RESET"}, HZ)
NO_STATS: dict[Stat, int] = {}


def row(**fields: Any) -> NDArray[np.void]:
    made = np.zeros(1, CLOSE)
    made["netns"] = NETNS
    made["end"] = End.DESTROY
    made["flags"] = record.F_CLOSED
    for name, value in fields.items():
        made[name] = value
    return made


def findings(*verdicts: str, time_wait: str = "none") -> Findings:
    n = len(verdicts)
    return Findings(
        verdict=np.array([VERDICT_INDEX[verdict] for verdict in verdicts], np.uint8),
        form=np.zeros(n, np.uint8),
        first_close=np.zeros(n, np.uint8),
        closed_by=np.zeros(n, np.uint8),
        time_wait=np.full(n, TIME_WAIT.index(time_wait), np.uint8),
        confidence=np.zeros(n, np.uint8),
        evidence=np.zeros(n, np.uint64),
        missing=np.zeros(n, np.uint32),
        reset_direction=np.zeros(n, np.uint8),
        limit=np.zeros(n, np.uint8),
        limit_value=np.full(n, -1, np.int64),
        limit_elapsed_ms=np.full(n, -1, np.int64),
        error=np.zeros(n, np.uint8),
        hints=np.zeros(n, np.uint32),
        peer_verdict=np.full(n, 255, np.uint8),
    )


MINI = record.F_TW | record.F_TW_FIN_WAIT2
CASES = [
    # SO_LINGER 0, with and without a state that needs a RST.
    ("abort-linger", {"old_state": State.ESTABLISHED, "flags": record.F_LINGER0 | record.F_RST_OUT},
     {"TCPAbortOnData": 1, "EstabResets": 1}),
    ("abort-linger", {"old_state": State.CLOSING, "flags": record.F_LINGER0},
     {"TCPAbortOnData": 1}),
    # TCP_LINGER2 below 0: in close(), and at the ACK of the FIN.
    ("abort-linger", {"old_state": State.FIN_WAIT2, "linger2": -1,
                      "flags": record.F_DEAD | record.F_RST_OUT}, {"TCPAbortOnLinger": 1}),
    ("abort-linger", {"old_state": State.FIN_WAIT2, "linger2": -1,
                      "flags": record.F_DEAD | record.F_RST_REPLY}, {"TCPAbortOnData": 1}),
    ("abort-late-data", {"old_state": State.FIN_WAIT2, "flags": record.F_RST_IN | record.F_RST_REPLY},
     {"TCPAbortOnData": 1}),
    ("abort-late-data", {"old_state": State.FIN_WAIT2, "end": End.LATE_DATA, "flags": MINI},
     {"TW": 1}),
    ("abort-unread", {"old_state": State.CLOSE_WAIT}, {"TCPAbortOnClose": 1, "EstabResets": 1}),
    ("abort-memory", {"old_state": State.FIN_WAIT1}, {"TCPAbortOnMemory": 1}),
    ("abort-disconnect", {"old_state": State.ESTABLISHED}, {"EstabResets": 1}),
    ("abort-admin", {"old_state": State.LAST_ACK}, {}),
    ("peer-reset", {"old_state": State.CLOSE_WAIT}, {"EstabResets": 1}),
    ("retransmit-exhausted", {"old_state": State.ESTABLISHED, "err": 110},
     {"TCPAbortOnTimeout": 1, "EstabResets": 1}),
    ("fin-exhausted", {"old_state": State.LAST_ACK, "err": 110}, {"TCPAbortOnTimeout": 1}),
    ("unreachable", {"old_state": State.FIN_WAIT1, "err": 113, "err_soft": 113},
     {"TCPAbortOnTimeout": 1}),
    ("unreachable", {"old_state": State.SYN_SENT, "err": 113}, {}),
    ("connect-timeout", {"old_state": State.SYN_SENT, "err": 110}, {"TCPAbortOnTimeout": 1}),
    ("accept-aborted", {"old_state": State.SYN_RECV, "err": 110}, {"TCPAbortOnTimeout": 1}),
    ("accept-aborted", {"old_state": State.SYN_RECV, "err": 104}, {}),
    ("connect-refused", {"old_state": State.SYN_SENT, "err": 111}, {}),
    ("connect-aborted", {"old_state": State.SYN_SENT, "shutdown": 3, "flags": record.F_LINGER0},
     {"TCPAbortOnData": 1}),
    ("connect-aborted", {"old_state": State.SYN_SENT, "shutdown": 3}, {}),
    ("connect-aborted", {"old_state": State.SYN_SENT, "flags": record.F_LINGER0}, {}),
    ("orderly", {"old_state": State.LAST_ACK}, {}),
    ("orderly", {"old_state": State.CLOSING, "flags": record.F_TW}, {"TW": 1}),
    ("undetermined", {"old_state": State.FIN_WAIT1}, {UNCLEAR: 1}),
    ("orderly", {"old_state": State.LAST_ACK, "flags": record.F_MISSED}, {UNCLEAR: 1}),
]  # fmt: skip


def explained(rows: NDArray[Any], found: Findings) -> Explained:
    """A tally of one batch."""
    tally = Tally(NAMES)
    tally.add(rows, found)
    return tally.result(NO_STATS)


@pytest.mark.parametrize(("verdict", "fields", "expected"), CASES)
def test_one_record(verdict: str, fields: dict[str, Any], expected: dict[str, int]) -> None:
    told = explained(row(**fields), findings(verdict))
    assert told == {NETNS: expected, HOST: {"OutRsts": 0}}


@pytest.mark.parametrize(
    ("fields", "counter"),
    [
        ({"linger2": 2 * HZ}, "TWKilled"),
        ({"linger2": 4 * HZ}, "TWKilled"),
        ({"linger2": 5 * HZ}, "TW"),
        ({"linger2": 2 * HZ, "rto": 2 * HZ}, "TW"),  # never less than 3.5 RTO
        ({"fin_timeout": 1 * HZ, "flags": MINI | record.F_SYSCTL}, "TWKilled"),
        ({"fin_timeout": 60 * HZ, "flags": MINI | record.F_SYSCTL}, "TW"),
        ({"fin_timeout": 62 * HZ, "flags": MINI | record.F_SYSCTL}, "TWKilled"),  # 2 s remain
        ({"fin_timeout": 70 * HZ, "flags": MINI | record.F_SYSCTL}, "TW"),
        ({"fin_timeout": 1 * HZ}, "TW"),  # sysctl not read: taken for 60 s
        ({"linger2": 2 * HZ, "flags": record.F_TW}, "TW"),  # TIME_WAIT itself always lasts 60 s
    ],
)
def test_a_short_lived_mini_socket_is_counted_apart(fields: dict[str, Any], counter: str) -> None:
    rows = row(**{"old_state": State.FIN_WAIT2, "flags": MINI, **fields})
    assert explained(rows, findings("orderly"))[NETNS] == {counter: 1}


def test_skipped_time_wait() -> None:
    rows = row(old_state=State.CLOSING)
    told = explained(rows, findings("orderly", time_wait="skipped"))
    assert told[NETNS] == {"TCPTimeWaitOverflow": 1}


def test_batches_and_namespaces_add_up() -> None:
    random = np.random.default_rng(3)
    chosen = [CASES[at] for at in random.integers(0, len(CASES), 500)]
    spaces = random.integers(0, 4, len(chosen))
    tally, expected = Tally(NAMES), dict[int, dict[str, int]]()
    rows = np.concatenate(
        [row(**{**case[1], "netns": NETNS + n}) for case, n in zip(chosen, spaces, strict=True)]
    )
    judged = findings(*(case[0] for case in chosen))
    for begin, end in ((0, 0), (0, 1), (1, 300), (300, 500)):
        tally.add(rows[begin:end], judged.take(np.arange(begin, end)))
    for (_, _, counters), n in zip(chosen, spaces.tolist(), strict=True):
        space = expected.setdefault(NETNS + n, {})
        for name, count in counters.items():
            space[name] = space.get(name, 0) + count
    expected[HOST] = {"OutRsts": 0}
    assert tally.result(NO_STATS) == expected


def test_resets_come_from_the_tracer_itself() -> None:
    stats = {Stat.RST_NO_SOCKET: 1, Stat.RST_TIMEWAIT: 20, Stat.RST_SOCKET: 300}
    assert Tally(NAMES).result(stats) == {HOST: {"OutRsts": 321}}


def test_events() -> None:
    def event(kind: EventKind, code: int, **fields: Any) -> NDArray[np.void]:
        made = np.zeros(1, EVENT)
        for name, value in {"netns": NETNS, "kind": kind, "code": code, **fields}.items():
            made[name] = value
        return made

    tally = Tally(NAMES)
    tally.add_events(
        np.concatenate(
            [
                event(EventKind.TIMEWAIT, Timewait.REUSED_BY_CONNECT),
                event(EventKind.TIMEWAIT, Timewait.EXPIRED),
                event(EventKind.TRANSITION, Drop.PAWS),
                event(EventKind.DROP, Drop.PAWS),
                event(EventKind.DROP, Drop.PAWS, **{"from": State.SYN_SENT}),
                event(EventKind.DROP, Drop.PAWS_TIMEWAIT),
                event(EventKind.DROP, Drop.CHALLENGE_ACK, reason=45),
                event(EventKind.DROP, Drop.CHALLENGE_ACK, reason=46),
                event(EventKind.DROP, Drop.CHALLENGE_ACK, reason=46, netns=NETNS + 1),
            ]
        )
    )
    assert tally.result(NO_STATS) == {
        NETNS: {
            "TWRecycled": 1,
            "PAWSEstab": 1,
            "PAWSActive": 1,
            "PAWSTimewait": 1,
            "TCPChallengeACK": 2,
            "TCPSYNChallenge": 1,
        },
        NETNS + 1: {"TCPChallengeACK": 1, "TCPSYNChallenge": 1},
        HOST: {"OutRsts": 0},
    }


def test_what_ended_before_or_after_the_counters_were_read_is_counted_apart() -> None:
    """By the time at which the kernel counted it: a timewait socket when it was made."""
    tally = Tally(NAMES, since_ns=100)
    tally.until_ns = 200
    fin_wait2 = {"old_state": State.FIN_WAIT2, "flags": MINI}
    rows = np.concatenate(
        [
            row(old_state=State.ESTABLISHED, path=0x17, at=[10, 99, 0, 0, 0, 0, 0]),
            row(old_state=State.ESTABLISHED, path=0x17, at=[10, 100, 0, 0, 0, 0, 0]),
            row(old_state=State.ESTABLISHED, path=0x17, at=[10, 201, 0, 0, 0, 0, 0]),
            row(**fin_wait2, path=0x1456, at=[10, 20, 99, 150, 0, 0, 0]),
            row(**fin_wait2, path=0x1456, at=[10, 20, 150, 250, 0, 0, 0]),
        ]
    )
    tally.add(rows, findings("peer-reset", "peer-reset", "peer-reset", "orderly", "orderly"))
    events = np.zeros(2, EVENT)
    events["netns"], events["kind"], events["code"] = (
        NETNS,
        EventKind.TIMEWAIT,
        Timewait.REUSED_BY_CONNECT,
    )
    events["at"] = 150, 300
    tally.add_events(events)
    attached, ended, stopped = ({Stat.RST_SOCKET: count} for count in (3, 10, 14))
    assert tally.result(stopped)[NETNS] == {"EstabResets": 3, "TW": 2, "TWRecycled": 2}
    edges = tally.edges(attached, ended, stopped)
    assert edges == {
        NETNS: {"EstabResets": 2, "TW": 1, "TWRecycled": 1},
        HOST: {"OutRsts": 7},
    }
