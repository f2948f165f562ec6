# SPDX-License-Identifier: Apache-2.0
"""Both ends of a connection in two recordings: joined, and compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.report_rows import CLOCK, SECOND, WALL, Memory, connections, traffic
from tracetw.event.record import MP_SUBFLOW, Layer
from tracetw.host.clock import Clock
from tracetw.report.build import build
from tracetw.report.model import Report

PORTS = 50000 + np.arange(10)
TIMES = 1500.0 + np.arange(10)
SERVER: dict[str, Any] = {
    "local": "10.0.0.1", "remote": "10.0.0.9", "lport": 443, "rport": PORTS, "server": True
}  # fmt: skip
CLIENT: dict[str, Any] = {"local": "10.0.0.9", "remote": "10.0.0.1", "lport": PORTS, "rport": 443}


def ends(server: str, client: str, *, later: float = 0.0, **changes: Any) -> Report:
    here = connections(server, TIMES, **SERVER, **changes.pop("server", {}))
    there = connections(client, TIMES + later, **CLIENT, **changes)
    return build([Memory(*traffic(), here), Memory(there, host="client-1", run="2")], utc=True)


def test_ends_that_agree() -> None:
    made = ends("orderly-passive", "orderly-active")
    assert (made.pairs, made.both) == (10, ())


def test_hosts_with_one_address_are_not_joined_by_chance() -> None:
    """Two clients of one address could each be the other end: neither is, and that is said."""
    server = Memory(connections("orderly-passive", TIMES, **SERVER))
    clients = [
        Memory(connections("orderly-active", TIMES + later, **CLIENT), host=name, run=name)
        for name, later in (("client-1", 0.0), ("client-2", 0.1))
    ]
    for several in ([server, *clients], [*clients, server]):
        made = build(several, utc=True)
        assert made.pairs == 0
        assert [note for note in made.notes if note.startswith("10 pairs of ends not joined")]
    assert build([server, clients[0]], utc=True).pairs == 10
    apart = Memory(connections("orderly-active", TIMES + 900, **CLIENT), host="client-2", run="3")
    made = build([server, clients[0], apart], utc=True)
    assert (made.pairs, made.notes) == (10, ()), "not at the same time"
    again = Memory(connections("orderly-active", TIMES, **CLIENT), host="client-1", run="4")
    assert build([server, clients[0], again], utc=True).pairs == 10, "one host recorded twice"


def test_subflows_that_are_no_line_of_their_own_do_not_shift_the_others() -> None:
    """Judging leaves them out: a connection is told from its own row, and both ends are still one."""
    sides = []
    for side in (SERVER, CLIENT):
        joins = connections("orderly-active", TIMES - 1.0, **{**side, "lport": 7, "rport": 9})
        joins["layer"], joins["mptcp_flags"], joins["mptcp_conn"] = Layer.MPTCP, MP_SUBFLOW, 77
        shape = "abort-unread" if side is SERVER else "peer-reset"
        sides.append(np.concatenate([joins, connections(shape, TIMES, **side)]))
    here, there = sides
    made = build([Memory(here), Memory(there, host="client-1", run="2")], utc=True)
    assert (made.pairs, made.affected) == (10, 10)
    told = {(one.close["verdict"], one.close["local"]["port"]) for one in made.stories}
    assert told
    assert {verdict for verdict, _ in told} <= {"abort-unread", "peer-reset"}
    assert 7 not in {port for _, port in told}


def test_an_abort_and_the_reset_that_it_is() -> None:
    made = ends("abort-unread", "peer-reset")
    assert (made.pairs, made.both) == (10, ())


@pytest.mark.parametrize(
    ("server", "client", "later", "kind", "here"),
    [
        ("peer-reset", "peer-reset", 0.0, "reset-from-between", "web-1"),
        ("peer-reset", "orderly-active", 5.0, "reset-not-sent", "web-1"),
        ("abort-unread", "keepalive-expired", 70.0, "reset-lost", "client-1"),
        ("keepalive-expired", "retransmit-exhausted", 20.0, "path-failed", "web-1"),
        ("orderly-passive", "keepalive-expired", 60.0, "closed-unheard", "client-1"),
    ],
)
def test_ends_that_do_not(server: str, client: str, later: float, kind: str, here: str) -> None:
    lived = {"before": (9000.0, 8999.0, 0.6, 0.5, 0)} if client == "orderly-active" else {}
    made = ends(server, client, later=later, **lived)
    assert [(one.kind, one.here, one.count) for one in made.both] == [(kind, here, 10)]
    told = [one for one in made.stories if one.number in made.both[0].stories]
    assert len(told) == 4
    assert all(one.other is not None and one.kind == kind for one in told)


def test_a_connection_with_two_ends_counts_once_with_the_end_that_acted() -> None:
    made = ends("abort-unread", "peer-reset")
    (one,) = made.incidents
    assert (one.kind, one.total, one.side, one.hosts) == ("aborts", 10, "server", {"web-1": 10})
    # Nor is it told a second time among what belongs to no incident; 180 are of another peer.
    assert (made.affected, made.in_incidents) == (190, 10)
    assert [cause.total for cause in made.causes] == [180]
    told = [story for story in made.stories if story.incident == 1]
    assert told
    assert {(story.close["verdict"], (story.other or {})["verdict"]) for story in told} == {
        ("abort-unread", "peer-reset")
    }


def test_where_both_waited_in_vain_the_path_failed() -> None:
    made = ends("keepalive-expired", "retransmit-exhausted", later=20.0)
    (one,) = made.incidents
    assert (one.kind, one.total, one.side) == ("path", 10, "client")
    assert one.evidence[0] == "both ends of 10 connections waited in vain: both hosts were there"


@pytest.mark.parametrize("ahead_s", [0.0, 37.5, -3600.0])
def test_clocks_that_differ_are_compared_and_ends_joined(ahead_s: float) -> None:
    """Nobody's clock is right: what one sends and the other gets says how far they are apart."""
    here = [
        connections("abort-unread", TIMES, **SERVER),
        connections("orderly-passive", TIMES - 100, **SERVER),
    ]
    there = [
        connections("peer-reset", TIMES + 0.0002, **CLIENT),
        connections("orderly-active", TIMES - 100 + 0.0002, **CLIENT),
    ]
    ahead = int(ahead_s * SECOND)
    clock = Clock(CLOCK.offset_ns + ahead, 0)
    times: dict[str, Any] = {
        "run_started_ns": WALL + ahead,
        "ended_ns": WALL + 3600 * SECOND + ahead,
    }
    other = Memory(*there, host="client-1", run="2", boot="another", clock=clock, **times)
    made = build([Memory(*traffic(), *here), other], utc=True)
    assert made.pairs == 20
    (offset,) = made.clocks
    assert (offset.host, offset.other, offset.pairs) == ("client-1", "web-1", 20)
    assert offset.offset_ms == pytest.approx(ahead_s * 1000, abs=1.5)
    where = "ahead of" if ahead_s >= 0 else "behind"
    assert f"{where} that of web-1" in offset.sentence
    (one,) = made.incidents
    assert (one.total, one.began_ns) == (10, WALL + 1500 * SECOND)


def test_a_host_that_vanished() -> None:
    here = connections("retransmit-exhausted", TIMES + 1500, **SERVER)
    alive = connections("orderly-active", [1000.0, 1400.0], **{**CLIENT, "lport": 0})
    made = build([Memory(*traffic(), here), Memory(alive, host="client-1", run="2")], utc=True)
    (one,) = made.both
    assert (one.kind, one.count) == ("host-vanished", 10)
    assert "client-1 vanished" in one.sentence


def test_loopback_is_joined_within_a_namespace_only() -> None:
    both = [
        connections(
            "orderly-passive", TIMES, **{**SERVER, "local": "127.0.0.1", "remote": "127.0.0.1"}
        ),
        connections(
            "orderly-active", TIMES, **{**CLIENT, "local": "127.0.0.1", "remote": "127.0.0.1"}
        ),
    ]
    assert build([Memory(*both)], utc=True).pairs == 10
    both[1]["netns"] += 1
    assert build([Memory(*both)], utc=True).pairs == 0


def test_a_port_used_again_is_another_connection() -> None:
    again: list[Any] = []
    for at in (100.0, 200.0, 300.0):
        again += [
            connections("orderly-passive", TIMES + at, **SERVER),
            connections("orderly-active", TIMES + at, **CLIENT),
        ]
    made = build([Memory(*again)], utc=True)
    assert (made.pairs, made.both) == (30, ())


def test_a_reset_of_the_kernel_is_no_middlebox() -> None:
    """peer-lost-state: the other host had forgotten, its kernel sends what no record tells of."""
    made = ends("keepalive-expired", "peer-lost-state", later=10.0)
    assert "reset-not-sent" not in {one.kind for one in made.both}
