# SPDX-License-Identifier: Apache-2.0
"""SYNs that a listener drops: one event each, named as the kernel counts it.

Whether as many requests as the backlog are too many is not the same on all kernels.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TypeAlias

import pytest

from tracetw.lab.expect.kernel import shown
from tracetw.lab.net.fault import PURE_ACKS
from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually

pytestmark = pytest.mark.timeout(240)

Told: TypeAlias = Mapping[str, tuple[Counter[str], dict[str, int]]]
"""By play: the events at B, and its counters."""

EVENT_OF = {"TCPReqQFullDrop": "request-queue-full", "ListenOverflows": "accept-queue-full"}


def requests(net: Net, count: int) -> None:
    """Connections of B that stay in SYN_RECV: it never gets the ACK of the handshake."""
    drop = net.drop(net.b, PURE_ACKS)
    for _ in range(count):
        net.client().connect(net.server)
    eventually(lambda: drop.packets() == count)


def syn(net: Net) -> None:
    """One more: B drops it, or answers."""
    end = net.client()
    end.setblocking(False)
    end.connect_ex(net.server)
    eventually(lambda: net.b.counters()["ListenDrops"] == 1 or established(end))
    end.close()


def established(end: socket.socket) -> bool:
    try:
        end.getpeername()
    except OSError:
        return False
    return True


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


def accept_queue(net: Net) -> None:
    listener = net.listen()
    for _ in range(2):
        net.client().connect(net.server)
    eventually(lambda: net.b.states() == ["ESTABLISHED"] * 2)
    listener.listen(1)
    syn(net)


# The first one shows which kernel it is to the one in which both queues could be the reason.
PLAYS: tuple[Callable[[Net], None], ...] = (
    as_many_as_the_backlog,
    backlog_of_none,
    both_queues,
    more_than_the_backlog,
    accept_queue,
)


@pytest.fixture(scope="module")
def told() -> Told:
    if "listener_dropped" not in shown():
        pytest.skip("no function probe tells of SYNs here")
    found: dict[int, tuple[str, Counter[str], dict[str, int]]] = {}
    # Namespaces stay to the end: a new one could get the number of an old one.
    with ExitStack() as nets, Tracer("--netns", "all", "--events", "drop") as tracer:
        for play in PLAYS:
            net = nets.enter_context(Net())
            net.b.sysctl(tcp_syncookies=0)
            play(net)
            found[net.b.netns] = play.__name__, Counter(), net.b.counters()
        tracer.stop()
        for line in tracer.select(kind="drop"):
            if line["netns"] in found:
                found[line["netns"]][1][line["event"]] += 1
    return {name: (events, counters) for name, events, counters in found.values()}


@pytest.mark.parametrize("name", [play.__name__ for play in PLAYS])
def test_each_syn_is_named_as_it_is_counted(told: Told, name: str) -> None:
    events, counters = told[name]
    for counter, event in EVENT_OF.items():
        assert events[event] == counters[counter], (counter, events)


def test_the_kernel_has_dropped_some(told: Told) -> None:
    dropped = {name for name, (_, counters) in told.items() if counters["ListenDrops"]}
    assert dropped >= {"both_queues", "more_than_the_backlog", "accept_queue"}
