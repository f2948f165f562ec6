# SPDX-License-Identifier: Apache-2.0
"""Both ends of a connection in two recordings: joined, and compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.report_rows import Memory, connections, traffic
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
