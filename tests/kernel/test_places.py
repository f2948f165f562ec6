# SPDX-License-Identifier: Apache-2.0
"""A program may be stopped in its midst, by an interrupt or by another task, and others run on its CPU.

Stopped programs are played: user space takes their places and leaves half a record there.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from scripts.benchmark.namespace import storm_host
from tests.kernel.kit.crowd import Crowd
from tests.kernel.kit.reader import SMALL, Reader, attached, once, verdicts
from tests.kernel.kit.room import PLACES, SPARE_PLACES, EventRoom, SpareRoom, element
from tracetw.event.record import AT_CLOSED, F_BORN, MP_CONNECTION, Stat
from tracetw.kernel.btf import Btf
from tracetw.kernel.load.loader import load
from tracetw.kernel.load.probe import ask
from tracetw.kernel.load.session import Session
from tracetw.kernel.plan import WAYS, Sizes, make_plan
from tracetw.lab.net.topology import Net
from tracetw.lab.scenarios.mptcp import close_in_turn, connect, no_mptcp, talk

pytestmark = pytest.mark.timeout(120)

COUNT, FEW = 40, 10
TRANSITIONS = 10
"""Of both ends of a connection: five each, since TIME_WAIT is not announced."""
# One set of each table: eight records wait.
TINY = Sizes(conn_slots=1 << 12, closed_slots=8, timewait_slots=8, closes_pages=64)


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with storm_host() as namespace, Crowd(namespace) as made:
        yield made


@pytest.fixture
def eventful() -> Iterator[Session]:
    btf = Btf.read()
    events = frozenset({"transition"})
    hz = round(1 / time.clock_getres(6))
    with load(make_plan(btf, hz, sizes=SMALL, events=events, answers=ask(btf))) as session:
        yield session


def events_of(session: Session, netns: int) -> int:
    """Events of a namespace, each as it should be."""
    found = 0
    assert session.events is not None
    while session.events.pending():
        rows = session.events.peek()
        rows = rows[rows["netns"] == netns]
        assert (rows["kind"] == 1).all()
        assert np.isin(rows["family"], [socket.AF_INET]).all()
        assert (rows["from"] != rows["to"]).all()
        found += len(rows)
        session.events.release()
    return found


@pytest.mark.parametrize("places", [(), (0,), (1,), (0, 2), (0, 1, 2)], ids=str)
def test_an_event_does_not_touch_the_place_of_another(
    crowd: Crowd, eventful: Session, places: tuple[int, ...]
) -> None:
    room = EventRoom(eventful)
    room.take(*places)
    crowd.do("open", COUNT)
    crowd.do("half", COUNT)
    crowd.do("finish", COUNT)
    lost = eventful.stats()[Stat.LOST_EVENTS]
    assert room.untouched(*places)
    assert events_of(eventful, crowd.netns) + lost == TRANSITIONS * COUNT
    assert lost == 0


def test_an_event_without_a_place_is_counted_as_lost(crowd: Crowd, eventful: Session) -> None:
    every = tuple(range(PLACES))
    room = EventRoom(eventful)
    room.take(*every)
    crowd.do("open", COUNT)
    crowd.do("half", COUNT)
    crowd.do("finish", COUNT)
    assert room.untouched(*every)
    assert events_of(eventful, crowd.netns) == 0
    assert eventful.stats()[Stat.LOST_EVENTS] >= TRANSITIONS * COUNT


@pytest.mark.parametrize("places", [(), (0,), (0, 2), tuple(range(SPARE_PLACES - 1))], ids=str)
def test_a_record_without_a_slot_does_not_touch_that_of_another(
    crowd: Crowd, places: tuple[int, ...]
) -> None:
    """Sockets that died and wait for their application, more than the table has room for."""
    with attached(TINY) as opened:
        room = SpareRoom(opened)
        room.take(*places)
        reader = Reader(opened, crowd.netns)
        crowd.do("open", COUNT)
        crowd.do("dead", COUNT)
        assert opened.stats()[Stat.CLOSING_FULL] >= COUNT - TINY.closed_slots
        assert room.untouched(*places)
        rows = reader.finish()
        lost = reader.lost()
    assert len(rows) + lost == 2 * COUNT
    assert lost == 0
    assert once(rows)
    assert verdicts(opened, rows) == {"abort-linger": COUNT, "peer-reset": COUNT}


def test_a_record_without_a_place_is_counted_as_lost(crowd: Crowd) -> None:
    every = tuple(range(SPARE_PLACES))
    with attached(TINY) as opened:
        room = SpareRoom(opened)
        room.take(*every)
        reader = Reader(opened, crowd.netns)
        crowd.do("open", COUNT)
        crowd.do("dead", COUNT)
        assert room.untouched(*every)
        rows = reader.finish()
        lost = reader.lost()
    assert lost >= COUNT - TINY.closed_slots
    assert len(rows) + lost == 2 * COUNT
    assert once(rows)


def test_the_history_of_those_that_have_none_stays_empty(crowd: Crowd) -> None:
    """Connections from before the trace share one: nothing of one of them becomes another's."""
    crowd.do("open", COUNT)
    with attached(SMALL) as opened:
        reader = Reader(opened, crowd.netns)
        crowd.do("dead", COUNT)
        rows = reader.finish()
        sets = SMALL.conn_slots // WAYS
        assert not any(element(opened, "conn_keys", sets))
        histories = [element(opened, "conns", sets * WAYS + way) for way in range(WAYS)]
    assert not any(map(any, histories))
    assert len(rows) == 2 * COUNT
    # When they began nobody knows, not even from each other.
    assert not (rows["flags"] & F_BORN).any()
    assert (rows["at"][:, 0] == rows["at"][:, AT_CLOSED]).all()


def test_a_connection_of_mptcp_and_its_subflows_leave_by_one_ring() -> None:
    """So that a reader of several rings never meets the connection before its subflow."""
    if why := no_mptcp():
        pytest.skip(why)
    sizes = Sizes(
        conn_slots=1 << 12, closed_slots=1 << 10, timewait_slots=1 << 10, closes_pages=256, rings=2
    )
    rings: dict[int, set[int]] = {}
    connections = 0
    with Net(4) as net, attached(sizes) as opened:
        homes = [host.netns for host in net.hosts.values()]
        for _ in range(FEW):
            link = connect(net)
            talk(link)
            close_in_turn(net, link)
            link.listener.close()
        opened.detach()
        for number, ring in enumerate(opened.closes._rings):
            while ring.pending():
                rows = ring.peek()
                rows = rows[np.isin(rows["netns"], homes) & (rows["mptcp_conn"] != 0)]
                connections += int((rows["mptcp_flags"] & MP_CONNECTION != 0).sum())
                for conn in rows["mptcp_conn"].tolist():
                    rings.setdefault(conn, set()).add(number)
                ring.release()
    assert connections == 2 * FEW
    # Both are used, each connection by one.
    assert set.union(*rings.values()) == {0, 1}
    assert {len(used) for used in rings.values()} == {1}
