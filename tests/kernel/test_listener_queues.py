# SPDX-License-Identifier: Apache-2.0
"""SYNs that a listener drops: one event each, named as the kernel counts it.

Whether as many requests as the backlog are too many is not the same on all kernels.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tracetw.lab.expect.kernel import shown
from tracetw.lab.net.fault import PURE_ACKS
from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually
from tracetw.lab.scenarios.listener import client_gone

pytestmark = pytest.mark.timeout(240)

EVENT_OF = {
    "TCPReqQFullDrop": "request-queue-full",
    "ListenOverflows": "accept-queue-full",
    "SyncookiesSent": "syn-cookie",
    "EmbryonicRsts": "embryonic-reset",
}


def requests(net: Net, count: int) -> None:
    """Connections of B that stay in SYN_RECV: it never gets the ACK of the handshake."""
    drop = net.drop(net.b, PURE_ACKS)
    for _ in range(count):
        net.client().connect(net.server)
    eventually(lambda: drop.packets() >= count)


def syn(net: Net) -> None:
    """One more: B drops it, or answers."""
    end = net.client()
    end.setblocking(False)
    end.connect_ex(net.server)
    eventually(lambda: net.b.counters()["ListenDrops"] or established(end))
    end.close()


def established(end: socket.socket) -> bool:
    try:
        end.getpeername()
    except OSError:
        return False
    return True


def ordinary(net: Net) -> None:
    """Nothing is dropped, and a connection ends."""
    link = net.connect()
    link.a.close()
    eventually(lambda: link.b.recv(1) == b"")
    link.b.close()
    eventually(lambda: not net.b.states())


def as_many_as_the_backlog(net: Net) -> None:
    listener = net.listen()
    requests(net, 1)
    listener.listen(1)
    syn(net)


def backlog_of_none(net: Net) -> None:
    net.listen(backlog=0)
    syn(net)


def both_queues(net: Net) -> None:
    """As many requests as the backlog, and an accept queue that is full."""
    listener = net.listen()
    for _ in range(2):
        net.client().connect(net.server)
    eventually(lambda: net.b.states() == ["ESTABLISHED"] * 2)
    requests(net, 1)
    listener.listen(1)
    syn(net)


def more_than_the_backlog(net: Net) -> None:
    """So many requests that no kernel takes another, and an accept queue that is full."""
    listener = net.listen()
    for _ in range(2):
        net.client().connect(net.server)
    eventually(lambda: net.b.states() == ["ESTABLISHED"] * 2)
    requests(net, 2)
    listener.listen(1)
    syn(net)


def cookie_and_client_gone(net: Net) -> None:
    client_gone(net)
    net.b.sysctl(tcp_syncookies=2)
    net.client().connect(net.server)


def accept_queue(net: Net) -> None:
    listener = net.listen()
    for _ in range(2):
        net.client().connect(net.server)
    eventually(lambda: net.b.states() == ["ESTABLISHED"] * 2)
    listener.listen(1)
    syn(net)


# as_many_as_the_backlog shows which kernel it is to both_queues, where either queue could be the reason.
PLAYS: tuple[Callable[[Net], None], ...] = (
    ordinary,
    as_many_as_the_backlog,
    backlog_of_none,
    both_queues,
    more_than_the_backlog,
    accept_queue,
    cookie_and_client_gone,
)


@dataclass(frozen=True, slots=True)
class Told:
    """By play the events at B and its counters, and what the summary says of all of them."""

    events: Mapping[str, Counter[str]]
    counters: Mapping[str, Mapping[str, int]]
    reconciled: Mapping[str, Mapping[str, object]]


@pytest.fixture(scope="module")
def told() -> Told:
    if "listener_dropped" not in shown():
        pytest.skip("no function probe tells of SYNs here")
    with ExitStack() as stack:
        nets = {play: stack.enter_context(Net()) for play in PLAYS}
        words = [word for net in nets.values() for word in ("--netns", net.b.name)]
        tracer = stack.enter_context(Tracer(*words, "--events", "drop"))
        for play, net in nets.items():
            net.b.sysctl(tcp_syncookies=0)
            play(net)
        counters = {play.__name__: net.b.counters() for play, net in nets.items()}
        entries = tracer.stop()["reconciliation"]
        drops = tracer.select(kind="drop")
        events = {
            play.__name__: Counter(line["event"] for line in drops if line["netns"] == net.b.netns)
            for play, net in nets.items()
        }
    return Told(events, counters, {entry["counter"]: entry for entry in entries})


@pytest.mark.parametrize("name", [play.__name__ for play in PLAYS])
def test_each_is_named_as_it_is_counted(told: Told, name: str) -> None:
    events, counters = told.events[name], told.counters[name]
    for counter, event in EVENT_OF.items():
        assert events[event] == counters[counter], (counter, events)


def test_the_kernel_has_dropped_some(told: Told) -> None:
    dropped = {name for name, counters in told.counters.items() if counters["ListenDrops"]}
    assert dropped >= {"both_queues", "more_than_the_backlog", "accept_queue"}


@pytest.mark.parametrize("counter", ["TCPReqQFullDrop", "SyncookiesSent", "EmbryonicRsts"])
def test_the_summary_reconciles(told: Told, counter: str) -> None:
    counted = sum(counters[counter] for counters in told.counters.values())
    assert counted
    entry = told.reconciled[counter]
    assert (entry["kernel"], entry["explained"], entry["difference"]) == (counted, counted, 0)
