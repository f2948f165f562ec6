# SPDX-License-Identifier: Apache-2.0
"""Comparing the kernel's counters with the tally, and the reasons for what differs."""

from __future__ import annotations

from typing import Any

from tracetw.event.record import Stat
from tracetw.host.counters import COUNTERS, Snapshot
from tracetw.reconcile.compare import Reconciled, reconcile
from tracetw.reconcile.tally import HOST, UNCLEAR

A, B = 4026531840, 4026532100


def counters(**values: int) -> dict[str, int]:
    return {**dict.fromkeys(COUNTERS, 0), **values}


def stats(**values: int) -> list[int]:
    return [values.get(stat.name, 0) for stat in Stat if stat is not Stat.MAX]


def run(
    attached: Snapshot,
    end: Snapshot,
    explained: dict[int, dict[str, int]],
    *,
    before: Snapshot | None = None,
    seen: list[int] | None = None,
    **more: Any,
) -> dict[str, Reconciled]:
    rows = reconcile(before or attached, attached, end, explained, seen or stats(), **more)
    return {row["counter"]: row for row in rows}


def test_all_explained() -> None:
    rows = run(
        {A: counters(TW=5, OutRsts=1), B: counters(TW=1)},
        {A: counters(TW=8, OutRsts=3, TCPAbortOnData=2), B: counters(TW=2)},
        {A: {"TW": 3, "TCPAbortOnData": 2}, B: {"TW": 1}, HOST: {"OutRsts": 2}},
    )
    assert rows["TW"] == {
        "counter": "TW", "kernel": 4, "explained": 4, "difference": 0, "reason": None,
    }  # fmt: skip
    assert all(row["difference"] == 0 and row["reason"] is None for row in rows.values())
    assert list(rows) == [
        "TCPAbortOnData", "TCPAbortOnClose", "TCPAbortOnTimeout", "TCPAbortOnLinger",
        "TCPAbortOnMemory", "EstabResets", "OutRsts", "TW", "TWKilled", "TCPTimeWaitOverflow",
    ]  # fmt: skip


def test_an_unexplained_difference_has_no_reason() -> None:
    rows = run({A: counters()}, {A: counters(TCPAbortOnClose=2)}, {A: {"TCPAbortOnClose": 1}})
    assert (rows["TCPAbortOnClose"]["difference"], rows["TCPAbortOnClose"]["reason"]) == (1, None)
    rows = run({A: counters()}, {A: counters()}, {A: {"TCPAbortOnClose": 1}})
    assert (rows["TCPAbortOnClose"]["difference"], rows["TCPAbortOnClose"]["reason"]) == (-1, None)


def test_a_new_namespace_counts_from_zero() -> None:
    rows = run({A: counters()}, {A: counters(), B: counters(TW=3)}, {B: {"TW": 3}})
    assert rows["TW"]["difference"] == 0
    reused_inode = run({A: counters(TW=9)}, {A: counters(TW=3)}, {A: {"TW": 3}})
    assert reused_inode["TW"]["difference"] == 0


def test_traffic_while_attaching_and_detaching() -> None:
    rows = run(
        {A: counters(EstabResets=4)},
        {A: counters(EstabResets=10)},
        {A: {"EstabResets": 9}},
        before={A: counters(EstabResets=2)},
        stopped={A: counters(EstabResets=11)},
    )
    assert rows["EstabResets"]["difference"] == -3
    assert rows["EstabResets"]["reason"] == "counted while attaching or detaching: 3"
    more = run(
        {A: counters(EstabResets=4)},
        {A: counters(EstabResets=10)},
        {A: {"EstabResets": 9}},
        before={A: counters(EstabResets=2)},
    )
    assert more["EstabResets"]["reason"] is None  # 2 cannot account for 3


def test_a_namespace_that_is_gone() -> None:
    rows = run(
        {A: counters(), B: counters()},
        {A: counters(TW=1, OutRsts=1)},
        {A: {"TW": 1}, B: {"TW": 2, "EstabResets": 1}, HOST: {"OutRsts": 5}},
    )
    reason = "in namespaces gone before they could be read"
    assert rows["TW"]["reason"] == f"{reason}: 2"
    assert rows["EstabResets"]["reason"] == f"{reason}: 1"
    assert rows["OutRsts"]["reason"] == f"{reason}: 4"
    assert rows["TWKilled"]["reason"] is None


def test_a_namespace_that_is_gone_and_its_number_used_again() -> None:
    """By one that came since (not there at the start, or its counters began again)."""
    reason = "in namespaces gone whose numbers others seem to have now"
    explained = {A: {"TW": 1}, B: {"TW": 5}, HOST: {"OutRsts": 5}}
    end = {A: counters(TW=1), B: counters(TW=2)}
    rows = run({A: counters()}, end, explained)
    assert rows["TW"]["difference"] == -3
    assert rows["TW"]["reason"] == f"{reason}: 3"
    assert rows["OutRsts"]["reason"] is None
    began_again = run({A: counters(), B: counters(EstabResets=9)}, end, explained)
    assert began_again["TW"]["reason"] == f"{reason}: 3"
    assert began_again["OutRsts"]["reason"] is not None
    same = run({A: counters(), B: counters()}, end, explained)
    assert same["TW"]["reason"] is None


def test_a_new_namespace_excuses_no_other() -> None:
    explained = {A: {"TW": 3}, B: {"TW": 2}}
    rows = run({A: counters()}, {A: counters(TW=1), B: counters(TW=2)}, explained)
    assert rows["TW"]["reason"] is None


def test_what_was_not_seen() -> None:
    seen = stats(FILTERED=2, LOST_CLOSES=1)
    end = {A: counters(TW=9, TCPAbortOnTimeout=8, OutRsts=3, TCPAbortFailed=1)}
    explained = {A: {"TW": 4, "TCPAbortOnTimeout": 4, UNCLEAR: 1}, HOST: {"OutRsts": 2}}
    rows = run({A: counters()}, end, explained, seen=seen, pending=2)
    assert rows["TW"]["reason"] == (
        "connections left out by filters: 2, records lost: 1, connections not finished: 2"
    )
    assert rows["TCPAbortOnTimeout"]["reason"] is not None
    assert rows["OutRsts"]["reason"] == "connections left out by filters: 2"
    bare = run({A: counters()}, end, explained)
    assert bare["TW"]["reason"] is None
    assert bare["OutRsts"]["reason"] == ("resets counted but not sent for want of memory: 1")


def test_undetermined_connections_excuse_counters_of_verdicts_only() -> None:
    end = {A: counters(TCPAbortOnTimeout=1, EstabResets=1)}
    rows = run({A: counters()}, end, {A: {UNCLEAR: 1}})
    assert rows["TCPAbortOnTimeout"]["reason"] == "connections undetermined: 1"
    assert rows["EstabResets"]["reason"] is None


def test_a_kernel_that_lacks_a_counter() -> None:
    old = {name: 0 for name in COUNTERS if name != "TWKilled"}
    rows = run({A: old}, {A: old}, {})
    assert rows["TWKilled"] == {
        "counter": "TWKilled", "kernel": None, "explained": 0, "difference": None,
        "reason": "this kernel does not count it",
    }  # fmt: skip
    assert run({}, {}, {})["TW"]["reason"] == "no counters could be read"


def test_kernels_that_count_time_wait_at_its_end() -> None:
    rows = run({A: counters()}, {A: counters(TW=1)}, {A: {"TW": 7}}, tw_at_birth=False)
    assert rows["TW"]["difference"] == -6
    assert "expires" in (rows["TW"]["reason"] or "")


def test_tw_and_twkilled_settle_each_other() -> None:
    rows = run({A: counters()}, {A: counters(TW=1, TWKilled=2)}, {A: {"TW": 3}})
    assert rows["TW"]["reason"] == rows["TWKilled"]["reason"]
    assert rows["TW"]["reason"] is not None
    rows = run({A: counters()}, {A: counters(TW=1, TWKilled=2)}, {A: {"TW": 4}})
    assert rows["TW"]["reason"] is rows["TWKilled"]["reason"] is None


def test_events_bring_their_counters() -> None:
    end = {A: counters(PAWSEstab=1, PAWSTimewait=2, TCPChallengeACK=1, TCPACKSkippedChallenge=4)}
    explained = {A: {"PAWSEstab": 1, "PAWSTimewait": 2, "TCPChallengeACK": 5}}
    rows = run({A: counters()}, end, explained, events=("drop",))
    assert rows["PAWSEstab"]["difference"] == rows["PAWSTimewait"]["difference"] == 0
    assert rows["TCPChallengeACK"]["reason"] == (
        "held back by the rate limit (TCPACKSkippedChallenge): 4"
    )
    assert "TWRecycled" not in rows
    assert "TWRecycled" in run({A: counters()}, end, explained, events=("timewait", "transition"))


def test_what_the_kernel_does_not_show_may_be_more_not_less() -> None:
    hidden = {"OutRsts": "resets without a full socket"}
    more = run({A: counters()}, {A: counters(OutRsts=3)}, {HOST: {"OutRsts": 1}}, hidden=hidden)
    assert more["OutRsts"]["reason"] == (
        "not shown by this kernel (resets without a full socket): 2"
    )
    less = run({A: counters()}, {A: counters(OutRsts=1)}, {HOST: {"OutRsts": 3}}, hidden=hidden)
    assert less["OutRsts"]["reason"] is None


def test_one_paws_counter_for_both_on_older_kernels() -> None:
    end = {A: {name: value for name, value in counters(PAWSEstab=3).items()
               if name != "PAWSTimewait"}}  # fmt: skip
    explained = {A: {"PAWSEstab": 1, "PAWSTimewait": 2}}
    rows = run({A: {}}, end, explained, events=("drop",))
    assert rows["PAWSEstab"]["difference"] == 0
    assert "PAWSTimewait" not in rows
