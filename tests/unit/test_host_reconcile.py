# SPDX-License-Identifier: Apache-2.0
"""Comparing the kernel's counters with the tally, and the reasons for what differs."""

from __future__ import annotations

from typing import Any

from tracetw.host.counters import COUNTERS, Snapshot
from tracetw.reconcile.compare import (
    ALWAYS,
    OF_MPTCP,
    WITH_EVENTS,
    Missing,
    Reconciled,
    reconcile,
)
from tracetw.reconcile.scope import NOTHING, Scope
from tracetw.reconcile.tally import HOST, UNCLEAR

A, B = 4026531840, 4026532100


def counters(**values: int) -> dict[str, int]:
    return {**dict.fromkeys(COUNTERS, 0), **values}


def run(
    attached: Snapshot,
    end: Snapshot,
    explained: dict[int, dict[str, int]],
    edges: dict[int, dict[str, int]] | None = None,
    missing: Missing = Missing(),  # noqa: B008 (frozen)
    **more: Any,
) -> dict[str, Reconciled]:
    rows = reconcile(attached, end, explained, edges or {}, missing, **more)
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


def test_every_counter_that_is_compared_is_read() -> None:
    compared = {*ALWAYS, *OF_MPTCP, *(name for names in WITH_EVENTS.values() for name in names)}
    assert compared <= {*COUNTERS}


def test_a_new_namespace_counts_from_zero() -> None:
    rows = run({A: counters()}, {A: counters(), B: counters(TW=3)}, {B: {"TW": 3}})
    assert rows["TW"]["difference"] == 0
    reused_inode = run({A: counters(TW=9)}, {A: counters(TW=3)}, {A: {"TW": 3}})
    assert reused_inode["TW"]["difference"] == 0


def test_traffic_while_attaching_and_detaching() -> None:
    """What excuses a difference are ends that were seen then, each of them counted."""
    counted = {A: counters(EstabResets=4)}, {A: counters(EstabResets=10)}
    rows = run(*counted, {A: {"EstabResets": 9}}, {A: {"EstabResets": 3, "TW": 1}})
    assert rows["EstabResets"]["difference"] == -3
    assert rows["EstabResets"]["reason"] == "seen while hooks were attached or detached: 3"
    more = run(*counted, {A: {"EstabResets": 9}}, {A: {"EstabResets": 2, "TW": 9}})
    assert more["EstabResets"]["reason"] is None  # 2 cannot account for 3


def test_only_the_namespaces_that_are_traced_are_compared() -> None:
    """But for resets, which are known of the host."""
    attached = {A: counters(), B: counters()}
    end = {A: counters(TW=1, OutRsts=1), B: counters(TW=500, EstabResets=9, OutRsts=2)}
    explained = {A: {"TW": 1}, HOST: {"OutRsts": 3}}
    rows = run(attached, end, explained, scope=Scope(netns=frozenset({A})))
    assert (rows["TW"]["kernel"], rows["TW"]["difference"]) == (1, 0)
    assert (rows["EstabResets"]["kernel"], rows["EstabResets"]["difference"]) == (0, 0)
    assert (rows["OutRsts"]["kernel"], rows["OutRsts"]["difference"]) == (3, 0)
    short = run(attached, end, {}, scope=Scope(netns=frozenset({A})))
    assert (short["TW"]["difference"], short["TW"]["reason"]) == (1, None)


def test_a_finer_filter_leaves_only_what_is_known_of_the_host() -> None:
    end = {A: counters(TW=500, OutRsts=2)}
    rows = run({A: counters()}, end, {HOST: {"OutRsts": 2}}, scope=NOTHING)
    assert [*rows] == ["OutRsts"]
    assert rows["OutRsts"]["difference"] == 0


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
    missing = Missing(closes=1, events=7, unjudged=2, pending=2)
    end = {A: counters(TW=9, TCPAbortOnTimeout=8, EstabResets=4, OutRsts=3, TCPAbortFailed=1)}
    explained = {A: {"TW": 4, "TCPAbortOnTimeout": 4, UNCLEAR: 1}, HOST: {"OutRsts": 2}}
    rows = run({A: counters()}, end, explained, missing=missing)
    assert rows["TW"]["reason"] == (
        "records lost: 1, records not judged: 2, connections not finished: 2"
    )
    assert rows["TCPAbortOnTimeout"]["reason"] == (
        "records lost: 1, records not judged: 2, connections undetermined: 1"
    )
    assert rows["EstabResets"]["reason"] is None  # nothing of it waits in FIN_WAIT2
    assert rows["OutRsts"]["reason"] == "resets counted but not sent for want of memory: 1"
    bare = run({A: counters()}, end, explained)
    assert bare["TW"]["reason"] is None


def test_a_loss_of_events_excuses_counters_of_events_only() -> None:
    end = {A: counters(TWRecycled=1, TW=1)}
    rows = run({A: counters()}, end, {}, missing=Missing(events=1), events=("timewait",))
    assert rows["TWRecycled"]["reason"] == "records lost: 1"
    assert rows["TW"]["reason"] is None


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
    rows = run({A: counters()}, {A: counters(TW=1)}, {A: {"TW": 7}}, scope=Scope(tw_at_birth=False))
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
    more = run(
        {A: counters()},
        {A: counters(OutRsts=3)},
        {HOST: {"OutRsts": 1}},
        scope=Scope(hidden=hidden),
    )
    assert more["OutRsts"]["reason"] == (
        "not shown by this kernel (resets without a full socket): 2"
    )
    less = run(
        {A: counters()},
        {A: counters(OutRsts=1)},
        {HOST: {"OutRsts": 3}},
        scope=Scope(hidden=hidden),
    )
    assert less["OutRsts"]["reason"] is None


def test_one_paws_counter_for_both_on_older_kernels() -> None:
    end = {A: {name: value for name, value in counters(PAWSEstab=3).items()
               if name != "PAWSTimewait"}}  # fmt: skip
    explained = {A: {"PAWSEstab": 1, "PAWSTimewait": 2}}
    rows = run({A: {}}, end, explained, events=("drop",))
    assert rows["PAWSEstab"]["difference"] == 0
    assert "PAWSTimewait" not in rows


def test_an_overflow_that_no_event_tells_of_is_noticed() -> None:
    """Where every overflow has its event; what else a listener drops is never all explained."""
    end = {A: counters(ListenOverflows=3, ListenDrops=5)}
    hidden = {"ListenDrops": "what listeners drop for another reason"}

    def rows(events: int, **more: str) -> dict[str, Reconciled]:
        explained = {A: {"ListenOverflows": events, "ListenDrops": events}}
        return run(
            {A: counters()}, end, explained, events=("drop",), scope=Scope(hidden=hidden | more)
        )

    assert (rows(3)["ListenOverflows"]["difference"], rows(3)["ListenDrops"]["difference"]) == (
        0,
        2,
    )
    assert rows(3)["ListenDrops"]["reason"] is not None
    assert (rows(2)["ListenOverflows"]["difference"], rows(2)["ListenOverflows"]["reason"]) == (
        1,
        None,
    )
    assert rows(4)["ListenOverflows"]["reason"] is None
    assert rows(6)["ListenDrops"]["reason"] is None
    unseen = rows(2, ListenOverflows="SYNs that met a full accept queue")["ListenOverflows"]
    assert unseen["reason"] == "not shown by this kernel (SYNs that met a full accept queue): 1"
