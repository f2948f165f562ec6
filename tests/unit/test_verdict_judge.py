# SPDX-License-Identifier: Apache-2.0
"""Recorded facts of every way to close and to reset. For timers see test_verdict_timeouts."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tracetw.event import record as r
from tracetw.event.fields import State
from tracetw.event.names import KernelNames
from tracetw.event.record import End
from tracetw.verdict import taxonomy
from tracetw.verdict.findings import UNKNOWN, Findings
from tracetw.verdict.judge import judge

NAMES = KernelNames(
    {},
    {
        0: "NOT_SPECIFIED",
        8: "TCP_ABORT_ON_DATA",
        11: "TCP_ABORT_ON_CLOSE",
        12: "TCP_ABORT_ON_LINGER",
        13: "TCP_ABORT_ON_MEMORY",
        14: "TCP_STATE",
        15: "TCP_KEEPALIVE_TIMEOUT",
        16: "TCP_DISCONNECT_WITH_DATA",
    },
    {},
    1000,
)
DATA, CLOSE, LINGER, MEMORY, STATE, KEEPALIVE = 8, 11, 12, 13, 14, 15
"""Reset reasons, numbered as Linux 6.18 does."""
MS = 1_000_000
START = 1_000_000 * MS
BASE = r.F_BORN | r.F_ADDR | r.F_CLOSED | r.F_SYSCTL | r.F_TS_OK
IN_CALL = r.F_OWNED | r.F_SOCKET
REASON = r.F_RST_REASON

Values = dict[str, Any]


def row(values: Values) -> NDArray[np.void]:
    """One record: an ordinary connection of a client, changed by ``values``."""
    made = np.zeros(1, r.CLOSE)
    made["end"] = End.DESTROY
    made["lport"], made["rport"], made["family"] = 40000, 80, 2
    made["snd_una"] = made["snd_nxt"] = made["write_seq"] = 1000
    made["rcv_nxt"] = made["copied_seq"] = 5000
    made["snd_wnd"], made["rto"] = 65535, 200
    made["fin_timeout"] = 60_000
    made["sysctl_retries2"], made["sysctl_keepalive_probes"] = 15, 9
    for name, value in values.items():
        if name == "flags":
            made["flags"] = value | (BASE if value & r.F_SERVER else BASE | r.F_CLIENT)
        elif name == "at":
            made["at"][0, : len(value)] = [START + int(ms * MS) for ms in value]
        else:
            made[name] = value
    return made


def judged(values: Values, *, lossy: bool = False, gone: bool | None = None) -> Findings:
    known = None if gone is None else np.array([gone])
    return judge(row(values), NAMES, lossy=lossy, gone=known)


def verdict(findings: Findings) -> str:
    return taxonomy.VERDICTS[int(findings.verdict[0])].code


def words(findings: Findings) -> tuple[str | None, str, str | None, str, str]:
    """form, first_close, closed_by, time_wait, confidence"""
    form, by = int(findings.form[0]), int(findings.closed_by[0])
    return (
        None if form == UNKNOWN else taxonomy.FORMS[form],
        taxonomy.FIRST_CLOSE[int(findings.first_close[0])],
        None if by == UNKNOWN else taxonomy.CLOSED_BY[by],
        taxonomy.TIME_WAIT[int(findings.time_wait[0])],
        taxonomy.CONFIDENCE[int(findings.confidence[0])],
    )


UNACKED: Values = {"snd_nxt": 1100, "write_seq": 1100, "retransmits": 5}
FIN_LOST: Values = {"snd_nxt": 1001, "write_seq": 1001, "retransmits": 3}
FIN_ACKED: Values = {"snd_una": 1001, "snd_nxt": 1001, "write_seq": 1001}
RESET: Values = {"path": 0x217, "old_state": State.ESTABLISHED, "err": errno.ECONNRESET}
WITH_ACK = r.F_RST_IN | r.F_RST_ACK_KNOWN | r.F_RST_ACK
BARE = r.F_RST_IN | r.F_RST_ACK_KNOWN
MINI: Values = {
    "path": 0x21457,
    "at": [0, 1, 5, 6, 300],
    "old_state": State.FIN_WAIT2,
    "flags": r.F_DEAD | r.F_TW | r.F_TW_FIN_WAIT2,
}
DIRECT: Values = {
    "path": 0x21456,
    "at": [0, 1, 5, 6, 6],
    "old_state": State.FIN_WAIT2,
    "flags": r.F_DEAD | r.F_DONE | r.F_TW | r.F_SEGMENT_TIME,
}
ATTACHED = r.F_DONE | r.F_TW | r.F_SOCKET | r.F_SEGMENT_TIME
LAST_ACK: Values = {
    "path": 0x21897,
    "at": [0, 1, 5, 9, 10],
    "old_state": State.LAST_ACK,
    "flags": r.F_DEAD | r.F_DONE | r.F_FIN_ACKED,
    **FIN_ACKED,
}
IN_CLOSE: Values = {"path": 0x217, "old_state": State.ESTABLISHED, "shutdown": 3}
UNREAD: Values = {**IN_CLOSE, "rcv_nxt": 5100, "flags": IN_CALL | r.F_RST_OUT}
EARLY = r.F_RST_OUT | r.F_RST_EARLY

# name: facts, verdict, (form, first_close, closed_by, time_wait, confidence)
Cases = dict[str, tuple[Values, str, tuple[str | None, str, str | None, str, str]]]
CASES: Cases = {
    "fin-4 active": (
        {**MINI, "end": End.FIN, "path": 0x21456},
        "orderly",
        ("fin-4", "local", "app", "local", "proven"),
    ),
    "fin-3 active": (DIRECT, "orderly", ("fin-3", "local", "app", "local", "proven")),
    "half-close": (
        {**DIRECT, "flags": ATTACHED, "at": [0, 1, 5, 6, 500]},
        "orderly",
        ("fin-4", "local", "app", "local", "proven"),
    ),
    "half-close answered at once": (
        {**DIRECT, "flags": ATTACHED, "at": [0, 1, 5, 6, 6.001]},
        "orderly",
        ("fin-4", "local", "app", "local", "proven"),
    ),
    "simultaneous": (
        {**DIRECT, **FIN_ACKED, "path": 0x214B6, "old_state": State.CLOSING},
        "orderly",
        ("fin-simultaneous", "both", "app", "local", "proven"),
    ),
    "fin-4 passive": (LAST_ACK, "orderly", ("fin-4", "remote", "peer", "remote", "proven")),
    "fin-3 passive": (
        {**LAST_ACK, "flags": LAST_ACK["flags"] | r.F_ACK_PENDING},
        "orderly",
        ("fin-3", "remote", "peer", "remote", "proven"),
    ),
    "overflow after both FINs": (
        {**DIRECT, "flags": r.F_DEAD | r.F_DONE},
        "orderly",
        (None, "local", "app", "skipped", "proven"),
    ),
    "overflow seen, with TCP_LINGER2 below 0": (
        {**DIRECT, "flags": r.F_DEAD | r.F_DONE | r.F_TW_REFUSED, "linger2": -1},
        "orderly",
        (None, "local", "app", "skipped", "proven"),
    ),
    "overflow before the peer's FIN": (
        {**DIRECT, "flags": r.F_DEAD},
        "undetermined",
        (None, "local", "app", "skipped", "inferred"),
    ),
    "unread": (UNREAD, "abort-unread", ("rst-sent", "local", "app", "none", "proven")),
    "unread, kernel's reason": (
        {**UNREAD, "flags": IN_CALL | r.F_RST_OUT | REASON, "reset_reason": CLOSE},
        "abort-unread",
        ("rst-sent", "local", "app", "none", "proven"),
    ),
    "unread in CLOSE_WAIT": (
        {
            **UNREAD,
            "path": 0x2187,
            "old_state": State.CLOSE_WAIT,
            "flags": UNREAD["flags"] | r.F_DONE,
        },
        "abort-unread",
        ("rst-sent", "remote", "app", "none", "proven"),
    ),
    "unread, record sent early": (
        {**UNREAD, "flags": IN_CALL, "end": End.FULL},
        "abort-unread",
        (None, "local", "app", "none", "inferred"),
    ),
    "linger 0": (
        {
            **IN_CLOSE,
            "flags": IN_CALL | r.F_RST_OUT | r.F_LINGER0 | REASON,
            "reset_reason": STATE,
            "err": errno.ECONNRESET,
        },
        "abort-linger",
        ("rst-sent", "local", "app", "none", "proven"),
    ),
    "linger 0 in LAST_ACK": (
        {
            **IN_CLOSE,
            **FIN_LOST,
            "path": 0x21897,
            "old_state": State.LAST_ACK,
            "flags": IN_CALL | r.F_LINGER0 | r.F_DONE,
        },
        "abort-linger",
        (None, "remote", "app", "none", "proven"),
    ),
    "linger2 below 0 in close()": (
        {
            **MINI,
            "linger2": -1,
            "flags": r.F_DEAD | r.F_OWNED | r.F_RST_OUT | REASON,
            "reset_reason": LINGER,
        },
        "abort-linger",
        ("rst-sent", "local", "app", "none", "proven"),
    ),
    "linger2 below 0 at the ACK": (
        {**MINI, "linger2": -1, "flags": r.F_DEAD | r.F_RST_REPLY},
        "abort-linger",
        ("rst-sent", "local", "app", "none", "proven"),
    ),
    "late data with the ACK": (
        {**MINI, "flags": r.F_DEAD | r.F_RST_REPLY},
        "abort-late-data",
        ("rst-sent", "local", "app", "none", "proven"),
    ),
    "late data": (
        {
            **RESET,
            "path": 0x2147,
            "old_state": State.FIN_WAIT1,
            "flags": r.F_DEAD | r.F_RST_IN | r.F_RST_REPLY | REASON,
            "reset_reason": DATA,
        },
        "abort-late-data",
        ("rst-sent", "local", "app", "none", "proven"),
    ),
    "late data on the timewait socket": (
        {**MINI, "end": End.LATE_DATA, "flags": MINI["flags"] | r.F_RST_REPLY},
        "abort-late-data",
        ("rst-sent", "local", "app", "none", "proven"),
    ),
    # Before 6.10: the reset of a timewait socket is not announced.
    "late data on the timewait socket, its reset not seen": (
        {**MINI, "end": End.LATE_DATA},
        "abort-late-data",
        ("rst-sent", "local", "app", "none", "inferred"),
    ),
    "connect(AF_UNSPEC)": (
        {**IN_CLOSE, "shutdown": 0, "flags": IN_CALL | r.F_RST_OUT, "end": End.REUSE},
        "abort-disconnect",
        ("rst-sent", "local", "app", "none", "proven"),
    ),
    "connect(AF_UNSPEC) after shutdown, with all that tells close()": (
        {
            **UNREAD,
            "path": 0x21457,
            "old_state": State.FIN_WAIT2,
            "shutdown": r.SHUT_RECEIVE | r.SHUT_SEND | r.SHUT_FILE_HELD,
            "flags": IN_CALL | r.F_RST_OUT | r.F_LINGER0,
        },
        "abort-disconnect",
        ("rst-sent", "local", "app", "none", "proven"),
    ),
    "connect(AF_UNSPEC) before the last ACK": (
        {
            **IN_CLOSE,
            "path": 0x21897,
            "old_state": State.LAST_ACK,
            "shutdown": r.SHUT_RECEIVE | r.SHUT_SEND | r.SHUT_FILE_HELD,
            "snd_nxt": 1001,
            "write_seq": 1001,
            "flags": IN_CALL | r.F_DONE,
        },
        "abort-disconnect",
        (None, "remote", "app", "none", "proven"),
    ),
    "ss -K": (
        {
            "path": 0x217,
            "old_state": State.ESTABLISHED,
            "err": errno.ECONNABORTED,
            "flags": r.F_SOCKET | r.F_OWNED | EARLY | REASON,
            "reset_reason": STATE,
        },
        "abort-admin",
        ("rst-sent", "none", "admin", "none", "proven"),
    ),
    "orphans, in close()": (
        {
            "path": 0x2147,
            "old_state": State.FIN_WAIT1,
            "flags": r.F_DEAD | r.F_OWNED | r.F_RST_OUT,
            **FIN_LOST,
        },
        "abort-memory",
        ("rst-sent", "local", "kernel-memory", "none", "proven"),
    ),
    "orphans, in a timer": (
        {
            "path": 0x2147,
            "old_state": State.FIN_WAIT1,
            "flags": r.F_DEAD | EARLY | REASON,
            "reset_reason": MEMORY,
            **FIN_LOST,
        },
        "abort-memory",
        ("rst-sent", "local", "kernel-memory", "none", "proven"),
    ),
    "listener closed": (
        {
            "path": 0x317,
            "old_state": State.ESTABLISHED,
            "err": errno.ECONNRESET,
            "flags": r.F_RST_OUT | r.F_SERVER,
        },
        "abort-listener",
        ("rst-sent", "local", "app", "none", "proven"),
    ),
    "peer reset, flags": (
        {**RESET, "flags": r.F_SOCKET | WITH_ACK},
        "peer-reset",
        ("rst-received", "remote", "peer", "none", "inferred"),
    ),
    "peer reset, not closed yet": (
        {**RESET, "flags": r.F_SOCKET | WITH_ACK, "end": End.PENDING},
        "peer-reset",
        ("rst-received", "remote", "peer", "none", "inferred"),
    ),
    "peer reset, timestamp": (
        {**RESET, **UNACKED, "flags": r.F_RST_IN | r.F_TS_SEEN},
        "peer-reset",
        ("rst-received", "remote", "peer", "none", "inferred"),
    ),
    "peer reset after its FIN": (
        {
            **RESET,
            **UNACKED,
            "path": 0x2187,
            "old_state": State.CLOSE_WAIT,
            "err": errno.EPIPE,
            "flags": r.F_RST_IN | r.F_DONE,
        },
        "peer-reset",
        ("rst-received", "remote", "peer", "none", "inferred"),
    ),
    "peer reset of the timewait socket": (
        {**MINI, "end": End.RST},
        "peer-reset",
        ("rst-received", "local", "peer", "none", "inferred"),
    ),
    # Its FIN may be lost or unsent: then it had the connection and did not want the data.
    "peer lost state, flags": (
        {**RESET, **UNACKED, "flags": BARE},
        "peer-lost-state",
        ("rst-received", "remote", "peer", "none", "inferred"),
    ),
    "peer lost state, flags, to a probe": (
        {**RESET, "flags": BARE},
        "peer-lost-state",
        ("rst-received", "remote", "peer", "none", "inferred"),
    ),
    "peer lost state, flags, to our FIN": (
        {
            **LAST_ACK,
            "snd_una": 1000,
            "err": errno.ECONNRESET,
            "flags": r.F_DEAD | r.F_DONE | BARE,
        },
        "peer-lost-state",
        ("rst-received", "remote", "peer", "none", "inferred"),
    ),
    "peer lost state, no timestamp": (
        {**RESET, **UNACKED, "flags": r.F_RST_IN},
        "peer-lost-state",
        ("rst-received", "remote", "peer", "none", "inferred"),
    ),
    "peer lost state, our FIN": (
        {
            **LAST_ACK,
            "snd_una": 1000,
            "err": errno.ECONNRESET,
            "flags": r.F_DEAD | r.F_DONE | r.F_RST_IN,
        },
        "peer-lost-state",
        ("rst-received", "remote", "peer", "none", "inferred"),
    ),
    "SYN of a restarted peer": (
        {**RESET, "flags": BARE | r.F_SYN_HIT},
        "stale-syn-reset",
        ("rst-received", "remote", "peer", "none", "inferred"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_verdict(name: str) -> None:
    values, code, expected = CASES[name]
    findings = judged(values)
    assert (verdict(findings), words(findings)) == (code, expected)
