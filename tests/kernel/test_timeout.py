# SPDX-License-Identifier: Apache-2.0
"""Connections that a timer gave up: which timer, which limit, and how long it took.

The peer of a connection that was given up in silence still has it. Once packets arrive again its
next one meets no socket: that is its end of the story.
"""

from __future__ import annotations

import socket

import pytest

from tests.kernel.kit.expect import accepted, at_least, between, one_of, path
from tests.kernel.kit.faults import Drop
from tests.kernel.kit.host import PORT
from tests.kernel.kit.lines import client, connected, got_reset, limit, server, timed_out
from tests.kernel.kit.polling import eventually
from tests.kernel.kit.stage import Registry, Scenario, Stage
from tests.kernel.kit.topology import Link, Pair

SCENARIOS = Registry()

# An orphan has no application left to see it.
UNSEEN = one_of("ETIMEDOUT", None)
RESET_UNSEEN = one_of("ECONNRESET", None)
LEFT_BEHIND = got_reset("peer-lost-state", ack=False, states=accepted("CLOSE"))


def meet_nobody(end: socket.socket, drop: Drop) -> None:
    """The network works again; what this end sends is answered with a RST."""
    drop.lift()
    end.sendall(b"anyone?")
    with pytest.raises(ConnectionResetError):
        end.recv(100)
    end.close()


def wait_for_timeout(link: Link) -> None:
    """A's application waits until its connection is given up."""
    with pytest.raises(TimeoutError) as given_up:
        link.a.recv(100)
    assert given_up.value.errno, "the test's own timeout, not the kernel's"
    link.a.close()


@SCENARIOS.add(
    a=client(
        **timed_out("retransmit-exhausted", states=connected("CLOSE")),
        retransmits={"total": at_least(3), "fin": 0, "backoff": at_least(2), "last_rto_ms": 1000},
        limit=limit("tcp_retries2", 3, 2200, 6000),
        bytes_unacked=5,
        reset=None,
    ),
    b=server(**LEFT_BEHIND),
    counted_a={"TCPAbortOnTimeout": 1, "OutRsts": 1, "EstabResets": 1},
)
def retransmit_exhausted(pair: Pair) -> None:
    pair.a.sysctl(tcp_retries2=3, tcp_rto_max_ms=1000)
    link = pair.connect()
    drop = pair.drop(pair.b)
    link.a.sendall(b"hello")
    wait_for_timeout(link)
    meet_nobody(link.b, drop)


@SCENARIOS.add(
    a=client(
        6,
        **timed_out("retransmit-exhausted", states=connected("CLOSE")),
        limit=limit("tcp_retries2", 3, 2200, 6000),
    ),
    b=server(6, **LEFT_BEHIND),
    counted_a={"TCPAbortOnTimeout": 1},
)
def retransmit_exhausted_v6(pair: Pair) -> None:
    pair.a.sysctl(tcp_retries2=3, tcp_rto_max_ms=1000)
    link = pair.connect(6)
    drop = pair.drop(pair.b)
    link.a.sendall(b"hello")
    wait_for_timeout(link)
    meet_nobody(link.b, drop)


@SCENARIOS.add(
    a=client(
        **timed_out("fin-exhausted", error=UNSEEN, first_close="local"),
        states=connected("FIN_WAIT1", "CLOSE"),
        owner_from="close",
        retransmits={"total": at_least(1), "fin": at_least(1)},
        limit=limit("tcp_orphan_retries", 1, 500, 5000),
        reset=None,
    ),
    b=server(**LEFT_BEHIND),
    counted_a={"TCPAbortOnTimeout": 1, "TW": 0},
)
def fin_exhausted_in_fin_wait1(pair: Pair) -> None:
    pair.a.sysctl(tcp_orphan_retries=1)
    link = pair.connect()
    drop = pair.drop(pair.b)
    link.a.close()
    eventually(lambda: pair.a.states() == [])
    meet_nobody(link.b, drop)


@SCENARIOS.add(
    a=client(
        **timed_out("fin-wait2-timeout", error=None, first_close="local"),
        states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
        limit=limit("tcp_fin_timeout", 3, 2900, 5000),
        owner_from="close",
    ),
    b=server(
        **timed_out("fin-exhausted", error=UNSEEN, first_close="remote"),
        states=accepted("CLOSE_WAIT", "LAST_ACK", "CLOSE"),
        owner_from="close",
        retransmits={"total": at_least(1), "fin": at_least(1)},
        limit=limit("tcp_orphan_retries", 1, 500, 5000),
    ),
    counted_a={"OutRsts": 0},
    counted_b={"TCPAbortOnTimeout": 1},
)
def fin_exhausted_in_last_ack(pair: Pair) -> None:
    pair.a.sysctl(tcp_fin_timeout=3)
    pair.b.sysctl(tcp_orphan_retries=1)
    link = pair.connect()
    link.a.close()
    eventually(lambda: pair.a.states() == ["FIN_WAIT2"])
    drop = pair.drop(pair.a)
    link.b.close()
    eventually(lambda: pair.b.states() == [])
    eventually(lambda: pair.a.states() == [])
    assert drop.packets() >= 2


KEEPALIVE_RESET = {"direction": "sent", "reason": "TCP_KEEPALIVE_TIMEOUT", "reason_from": "kernel"}


@SCENARIOS.add(
    a=client(
        **timed_out("keepalive-expired", states=connected("CLOSE")),
        limit=limit("TCP_KEEPCNT", 2, 1500, 6000),
        probes={"total": 2, "what": "keepalive"},
        reset=KEEPALIVE_RESET,
        retransmits={"total": 0},
    ),
    b=server(**LEFT_BEHIND),
    counted_a={"TCPAbortOnTimeout": 1, "TCPKeepAlive": 2},
)
def keepalive_expired(pair: Pair) -> None:
    link = pair.connect(TCP_KEEPIDLE=1, TCP_KEEPINTVL=1, TCP_KEEPCNT=2)
    link.a.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    drop = pair.drop(pair.b)
    wait_for_timeout(link)
    meet_nobody(link.b, drop)


@SCENARIOS.add(
    a=client(
        **timed_out("keepalive-expired", states=connected("CLOSE")),
        limit=limit("tcp_keepalive_probes", 2, 1500, 6000),
        reset=KEEPALIVE_RESET,
    ),
    b=server(**LEFT_BEHIND),
    counted_a={"TCPAbortOnTimeout": 1, "TCPKeepAlive": 2},
)
def keepalive_expired_by_sysctl(pair: Pair) -> None:
    pair.a.sysctl(tcp_keepalive_time=1, tcp_keepalive_intvl=1, tcp_keepalive_probes=2)
    link = pair.connect()
    link.a.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    drop = pair.drop(pair.b)
    wait_for_timeout(link)
    meet_nobody(link.b, drop)


@SCENARIOS.add(
    a=client(
        **timed_out("user-timeout", states=connected("CLOSE")),
        limit=limit("TCP_USER_TIMEOUT", 1500, 1400, 5000),
        bytes_unacked=5,
    ),
    b=server(**LEFT_BEHIND),
    counted_a={"TCPAbortOnTimeout": 1},
)
def user_timeout(pair: Pair) -> None:
    link = pair.connect(TCP_USER_TIMEOUT=1500)
    drop = pair.drop(pair.b)
    link.a.sendall(b"hello")
    wait_for_timeout(link)
    meet_nobody(link.b, drop)


def outlive_fin_wait2(pair: Pair, **options: int) -> None:
    """A closes and B does not until A has forgotten the connection."""
    link = pair.connect(**options)
    link.a.close()
    eventually(lambda: pair.a.states() == ["FIN_WAIT2"])
    eventually(lambda: pair.a.states() == [])
    link.b.close()
    eventually(lambda: pair.b.states() == [])


FORGOTTEN = got_reset(
    "peer-lost-state", states=accepted("CLOSE_WAIT", "LAST_ACK", "CLOSE"), error=RESET_UNSEEN
)


@SCENARIOS.add(
    a=client(
        **timed_out("fin-wait2-timeout", error=None, first_close="local"),
        states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
        owner_from="close",
        limit=limit("tcp_fin_timeout", 1, 900, 3000),
    ),
    b=server(**FORGOTTEN, owner_from="close"),
    counted_a={"OutRsts": 1, "TCPAbortOnTimeout": 0, "TW": 0, "TWKilled": 1},
)
def fin_wait2_timeout(pair: Pair) -> None:
    pair.a.sysctl(tcp_fin_timeout=1)
    outlive_fin_wait2(pair)


@SCENARIOS.add(
    a=client(
        **timed_out("fin-wait2-timeout", error=None, first_close="local"),
        states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
        owner_from="close",
        limit=limit("TCP_LINGER2", 2, 1900, 4000),
    ),
    b=server(**FORGOTTEN, owner_from="close"),
    counted_a={"OutRsts": 1},
)
def fin_wait2_timeout_by_linger2(pair: Pair) -> None:
    outlive_fin_wait2(pair, TCP_LINGER2=2)


@SCENARIOS.add(
    a=client(
        **timed_out("connect-timeout", states=path("SYN_SENT", "CLOSE")),
        duration_ms=between(900, 10_000),
        reset=None,
    ),
    b=None,
    counted_a={"AttemptFails": 1, "RetransSegs": at_least(1)},
)
def connect_timeout(pair: Pair) -> None:
    pair.a.sysctl(tcp_syn_retries=1)
    pair.drop(pair.b)
    client_end = pair.keep(pair.a.tcp_socket())
    with pytest.raises(TimeoutError) as given_up:
        client_end.connect((pair.b.addresses[4], PORT))
    assert given_up.value.errno, "the test's own timeout, not the kernel's"
    client_end.close()


def test_both_ends(scenario: Scenario, stage: Stage) -> None:
    """Every limit is named with its value and the time it took."""
    stage.check(scenario)
