# SPDX-License-Identifier: Apache-2.0
"""One piece of evidence taken away, or one more fact: another verdict, or none."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from tests.unit.test_verdict_judge import (
    BARE,
    CASES,
    CLOSE,
    EARLY,
    IN_CALL,
    MINI,
    NAMES,
    REASON,
    STATE,
    WITH_ACK,
    Values,
    judged,
    row,
    verdict,
    words,
)
from tests.unit.test_verdict_timeouts import TIMEOUTS
from tracetw.event import record as r
from tracetw.event.record import End
from tracetw.verdict.evidence import evidence_names
from tracetw.verdict.judge import judge
from tracetw.verdict.missing import missing_names

ALL = {**CASES, **TIMEOUTS}


@pytest.mark.parametrize(
    ("name", "change", "expected", "missing"),
    [
        ("fin-4 active", {"end": End.DESTROY}, "undetermined", "mini-socket-end"),
        ("fin-4 active", {"end": End.STALE}, "undetermined", "mini-socket-end"),
        ("fin-4 active", {"end": End.FULL}, "undetermined", "mini-socket-end"),
        ("fin-4 passive", {"flags": r.F_DEAD | r.F_DONE}, "undetermined", "netns-state"),
        ("fin-4 passive", {"flags": r.F_FIN_ACKED | r.F_MISSED}, "undetermined", "close-event"),
        ("simultaneous", {"flags": r.F_DEAD | r.F_DONE}, "undetermined", "netns-state"),
        ("unread", {"rcv_nxt": 5000}, "abort-disconnect", ""),
        ("unread", {"flags": IN_CALL}, "undetermined", "reset-sent"),
        ("unread", {"flags": IN_CALL | r.F_RST_OUT | r.F_LINGER0}, "abort-unread", ""),
        (
            "unread",
            {"flags": IN_CALL | r.F_RST_OUT | REASON, "reset_reason": STATE},
            "abort-disconnect",
            "",
        ),
        (
            "unread",
            {"rcv_nxt": 5001, "flags": IN_CALL | r.F_RST_OUT | r.F_DONE},
            "abort-disconnect",
            "",
        ),
        ("linger 0", {"flags": IN_CALL | r.F_LINGER0}, "undetermined", "reset-sent"),
        ("linger 0", {"flags": IN_CALL | r.F_RST_OUT}, "abort-disconnect", ""),
        ("linger2 below 0 in close()", {"linger2": 0, "reset_reason": 0}, "abort-memory", ""),
        ("linger2 below 0 at the ACK", {"linger2": 0}, "abort-late-data", ""),
        ("linger2 below 0 at the ACK", {"flags": r.F_DEAD}, "abort-linger", ""),
        ("late data with the ACK", {"flags": r.F_DEAD}, "undetermined", "peer-fin"),
        ("late data", {"flags": r.F_DEAD | r.F_RST_IN}, "peer-lost-state", ""),
        (
            "late data",
            {"flags": r.F_DEAD | r.F_RST_IN, "end": End.FULL},
            "undetermined",
            "reset-answer",
        ),
        ("connect(AF_UNSPEC)", {"flags": IN_CALL}, "undetermined", "reset-sent"),
        ("ss -K", {"flags": r.F_SOCKET}, "undetermined", "reset-sent"),
        ("ss -K", {"flags": 0, "old_state": 9}, "abort-admin", ""),
        ("orphans, in close()", {"flags": r.F_DEAD}, "undetermined", "netns-state"),
        ("orphans, in a timer", {"flags": r.F_DEAD}, "undetermined", "netns-state"),
        ("listener closed", {"flags": r.F_SERVER}, "undetermined", "reset-sent"),
        ("peer reset, flags", {"flags": BARE}, "peer-lost-state", ""),
        ("peer lost state, flags", {"flags": WITH_ACK}, "peer-reset", ""),
        ("SYN of a restarted peer", {"flags": WITH_ACK | r.F_SYN_HIT}, "peer-reset", ""),
        ("SYN of a restarted peer", {"flags": BARE}, "peer-lost-state", ""),
        ("data lost", {"retransmits": 0}, "undetermined", "retransmissions"),
        ("data lost", {"snd_wnd": 0, "flags": r.F_SOCKET}, "window-probe-expired", ""),
        ("data lost", {"snd_nxt": 1000, "write_seq": 1000}, "undetermined", "unanswered-segment"),
        ("data lost", {"err": 113}, "undetermined", "cause"),
        ("FIN lost", {"err": 113, "err_soft": 113}, "unreachable", ""),
        ("FIN lost", {"user_timeout": 1000}, "user-timeout", ""),
        ("user timeout", {"user_timeout": 0}, "retransmit-exhausted", ""),
        ("user timeout of keepalive", {"user_timeout": 0}, "keepalive-expired", ""),
        ("user timeout of a closed window", {"user_timeout": 0}, "window-probe-expired", ""),
        ("keepalive", {"probes_out": 0}, "undetermined", "unanswered-segment"),
        ("keepalive", {"flags": r.F_SOCKET}, "undetermined", "unanswered-segment"),
        ("keepalive", {"err": 113, "err_soft": 113}, "keepalive-expired", ""),
        ("window probes", {"snd_wnd": 100}, "output-blocked", ""),
        ("own firewall", {"snd_wnd": 0}, "window-probe-expired", ""),
        ("own firewall", {"err": 113, "err_soft": 113}, "unreachable", ""),
        ("full socket timed out in FIN_WAIT2", {"flags": r.F_DEAD}, "undetermined", "peer-fin"),
        ("no route", {"err_soft": 0}, "undetermined", "cause"),
        ("refused", {"flags": r.F_SOCKET}, "connect-refused", ""),
        ("SYN lost", {"err": errno.ECONNABORTED}, "connect-aborted", ""),
        ("namespace gone in close()", {"flags": r.F_DEAD}, "undetermined", "netns-state"),
    ],
)
def test_change(name: str, change: Values, expected: str, missing: str) -> None:
    findings = judged({**ALL[name][0], **change})
    assert verdict(findings) == expected
    assert missing_names(int(findings.missing[0])) == ((missing,) if missing else ())


@pytest.mark.parametrize("name", ["peer reset, timestamp", "peer lost state, no timestamp"])
def test_rst_without_flags_and_timestamps(name: str) -> None:
    rows = row(ALL[name][0])
    rows["flags"] &= ~np.uint32(r.F_TS_OK)
    findings = judge(rows, NAMES, lossy=False)
    assert verdict(findings) == "undetermined"
    assert missing_names(int(findings.missing[0])) == ("rst-flags",)
    rows["snd_nxt"] = rows["write_seq"] = rows["snd_una"]
    rows["retransmits"] = 0
    findings = judge(rows, NAMES, lossy=False)
    assert (verdict(findings), words(findings)[-1]) == ("peer-reset", "inferred")


def test_a_bare_rst_after_the_peers_fin_answers_our_ack() -> None:
    values: Values = {**ALL["peer reset after its FIN"][0], "snd_nxt": 1000, "write_seq": 1000}
    assert verdict(judged({**values, "retransmits": 0})) == "peer-reset"
    assert verdict(judged({**values, "probes_out": 1})) == "peer-lost-state"


def test_a_refused_time_wait_is_evidence() -> None:
    """With and without it one is missed; only with it is the reason known."""
    seen = judged(CASES["overflow seen, with TCP_LINGER2 below 0"][0])
    assert "time-wait-refused" in evidence_names(int(seen.evidence[0]))
    unseen = judged(CASES["overflow after both FINs"][0])
    assert "no-time-wait" in evidence_names(int(unseen.evidence[0]))
    assert "time-wait-refused" not in evidence_names(int(unseen.evidence[0]))


def test_namespace_gone_when_that_is_known() -> None:
    stale: Values = {**MINI, "end": End.STALE}
    assert verdict(judged(stale, gone=False)) == "undetermined"
    assert verdict(judged(stale, gone=True)) == "namespace-gone"
    silent: Values = {**ALL["orphans, in a timer"][0], "flags": r.F_DEAD}
    assert verdict(judged(silent, gone=True)) == "namespace-gone"
    assert verdict(judged(CASES["fin-4 active"][0], gone=True)) == "orderly"


@pytest.mark.parametrize(
    ("flags", "code", "closed_by", "evidence"),
    [
        (r.F_EXITING, 0x300, "process-exit", {"process-exiting"}),
        (r.F_EXITING, 0x9, "process-crash", {"process-exiting", "process-signal"}),
        (
            r.F_EXITING | r.F_OOM,
            0x9,
            "oom-kill",
            {"process-exiting", "process-signal", "oom-victim"},
        ),
        (0, 0x9, "app", set()),
        (r.F_KTHREAD, 0, None, set()),
    ],
)
@pytest.mark.parametrize(
    "name", ["fin-4 active", "fin-3 active", "late data on the timewait socket"]
)
def test_who_closed(
    name: str, flags: int, code: int, closed_by: str | None, evidence: set[str]
) -> None:
    values = ALL[name][0]
    findings = judged({**values, "flags": values["flags"] | flags, "exit_code": code})
    assert words(findings)[2] == closed_by
    death = {"process-exiting", "process-signal", "oom-victim"}
    assert set(evidence_names(int(findings.evidence[0]))) & death == evidence


def test_a_process_that_exits_long_after_shutdown_closed_nothing() -> None:
    values = ALL["half-close"][0]
    findings = judged({**values, "flags": values["flags"] | r.F_EXITING, "exit_code": 9})
    assert words(findings)[2] == "app"


def test_a_close_before_the_trace_has_no_author() -> None:
    assert words(judged({**CASES["fin-3 active"][0], "path": 0x56}))[2] is None


@pytest.mark.parametrize(("later_ms", "said"), [(0, "fin-3"), (0.0001, "fin-4"), (500, "fin-4")])
@pytest.mark.parametrize("more", [0, r.F_OWNED])
def test_times_of_segments_are_those_of_one_segment_or_of_two(
    later_ms: float, said: str, more: int
) -> None:
    """However slow the machine is, and however fast the peer."""
    values = CASES["fin-3 active"][0]
    flags = values["flags"] | more
    form, *_, sure = words(judged({**values, "flags": flags, "at": [0, 1, 5, 6, 6 + later_ms]}))
    assert (form, sure) == (said, "proven")


def test_a_fin_wait2_that_began_nobody_knows_when_has_no_form() -> None:
    values = CASES["fin-3 active"][0]
    assert words(judged({**values, "at": [0, 1, 5, -1_000_000, 500]}))[0] is None
    assert words(judged({**values, "flags": values["flags"] & ~r.F_SEGMENT_TIME}))[0] is None


@pytest.mark.parametrize("name", ALL)
def test_loss_weakens(name: str) -> None:
    findings = judged(ALL[name][0], lossy=True)
    assert verdict(findings) == ALL[name][1]
    assert words(findings)[-1] == "weakened"


def test_a_missed_close_is_judged_by_its_path() -> None:
    findings = judged({**CASES["fin-4 passive"][0], "old_state": 0, "end": End.DESTROY})
    assert verdict(findings) == "undetermined"
    flags = CASES["peer reset, flags"][0]["flags"] | r.F_MISSED
    findings = judged({**CASES["peer reset, flags"][0], "old_state": 0, "flags": flags})
    assert (verdict(findings), words(findings)[-1]) == ("peer-reset", "weakened")


@pytest.mark.parametrize(
    "name", ["closed while connecting", "disconnected while connecting", "orphans, in close()"]
)
def test_a_missed_close_may_have_had_an_error(name: str) -> None:
    """connect() has taken the ETIMEDOUT, and close() finds none: the kernel's timer ended it, or the application."""
    values, code, _ = ALL[name]
    assert code != "undetermined"
    missed = int(values["flags"]) | r.F_MISSED | r.F_DEAD | r.F_OWNED
    findings = judged({**values, "flags": missed, "end": End.DESTROY})
    assert verdict(findings) == "undetermined"
    assert words(findings)[-1] == "weakened"


def test_an_older_kernel_without_reasons_judges_by_fields() -> None:
    for name, (values, code, _) in ALL.items():
        rows = row(values)
        rows["flags"] &= ~np.uint32(r.F_RST_REASON)
        found = verdict(judge(rows, NAMES, lossy=False))
        assert found == code, name


def test_the_reason_of_another_kernel_has_another_number() -> None:
    values: Values = {**CASES["unread"][0], "rcv_nxt": 5000, "reset_reason": CLOSE}
    rows = row({**values, "flags": IN_CALL | r.F_RST_OUT | REASON})
    assert verdict(judge(rows, NAMES, lossy=False)) == "abort-unread"
    others = type(NAMES)({}, {CLOSE: "TCP_STATE"}, {}, 1000)
    assert verdict(judge(rows, others, lossy=False)) == "abort-disconnect"


def test_batches_are_judged_row_by_row() -> None:
    rows = np.concatenate([row(values) for values, _, _ in ALL.values()] * 3)
    findings = judge(rows, NAMES, lossy=False)
    for at, (values, _, _) in enumerate([*ALL.values()] * 3):
        alone = judged(values)
        for name in findings.__dataclass_fields__:
            assert getattr(findings, name)[at] == getattr(alone, name)[0]


def test_no_rows() -> None:
    assert len(judge(np.zeros(0, r.CLOSE), NAMES, lossy=True)) == 0


def test_any_facts_get_a_verdict() -> None:
    random = np.random.default_rng(7)
    raw = random.integers(0, 256, (2000, r.CLOSE.itemsize), np.uint8)
    findings = judge(raw.view(r.CLOSE)[:, 0], NAMES, lossy=False)
    assert len(findings) == 2000


def test_early_is_early() -> None:
    values: Values = {**CASES["orphans, in close()"][0], "flags": r.F_DEAD | EARLY}
    assert verdict(judged(values)) == "abort-memory"
