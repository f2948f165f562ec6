# SPDX-License-Identifier: Apache-2.0
"""Tables that are full, readers that stand still, traces that end in a storm.

The load counts what it did. Every end is a row or counted as lost, none is there twice, and no verdict is
``undetermined`` where the facts are known.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from scripts.benchmark.namespace import storm_host
from scripts.benchmark.storm import Storm
from tests.kernel.kit.crowd import Crowd
from tests.kernel.kit.reader import Reader, attached, once, verdicts
from tracetw.event.record import F_BORN, Owner, Stat
from tracetw.kernel.plan import Sizes
from tracetw.lab.polling import patient
from tracetw.live.attach import BYTES_A_CONNECTION
from tracetw.stream.filter import Filter

pytestmark = pytest.mark.timeout(300)

ROOM = 4096
FEW = Sizes.for_connections(ROOM)
DEAD = ROOM // 8
"""Sockets that can wait for their application."""
PART = 400
STEP = 10 * PART // round(patient(1))
"""Less than the room."""
MOST = 32_000


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with storm_host() as namespace, Crowd(namespace, MOST) as made:
        yield made


def test_connections_that_the_filter_rules_out_take_no_room(crowd: Crowd) -> None:
    with storm_host() as other, Crowd(other, MOST) as idle:
        wanted = Filter(netns=frozenset({crowd.netns}))
        with attached(FEW, wanted) as opened:
            idle.do("open", 4 * ROOM)
            crowd.do("open", STEP // 2)
            assert opened.stats()[Stat.CONN_FULL] == 0
            reader = Reader(opened, crowd.netns)
            crowd.do("reset", STEP // 2)
            rows = reader.finish()
    assert len(rows) == STEP
    assert once(rows)
    assert (rows["flags"] & F_BORN != 0).all()
    assert np.isin(rows["pid"], crowd.pids).all()
    assert verdicts(opened, rows) == {"abort-linger": STEP // 2, "peer-reset": STEP // 2}


@pytest.mark.parametrize("ending", ["reset", "half"])
def test_idle_connections_do_not_blind_the_verdicts_of_others(crowd: Crowd, ending: str) -> None:
    """The table is full of idle connections when others begin: none of those is followed."""
    with storm_host() as other, Crowd(other, MOST) as idle, attached(FEW) as opened:
        idle.do("open", 3 * ROOM)
        before = opened.stats()[Stat.CONN_FULL]
        # Both ends of each. Sets fill up to their last two ways.
        assert before >= 6 * ROOM - FEW.conn_slots
        crowd.do("open", STEP)
        assert opened.stats()[Stat.CONN_FULL] >= before + 2 * STEP
        reader = Reader(opened, crowd.netns)
        for _ in range(STEP // PART):
            crowd.do(ending, PART)
            reader.look()
            if ending == "half":
                crowd.do("finish", PART)
            reader.look()
        rows = reader.finish()
        stats = opened.stats()
    assert (rows["flags"] & F_BORN == 0).all()
    assert len(rows) == 2 * STEP
    assert once(rows)
    assert stats[Stat.LOST_CLOSES] == stats[Stat.END_FULL] == stats[Stat.CLOSING_FULL] == 0
    assert np.isin(rows["pid"], crowd.pids).all()
    assert (rows["owner_from"] == Owner.CLOSE).all()
    judged = verdicts(opened, rows)
    if ending == "reset":
        assert judged == {"abort-linger": STEP, "peer-reset": STEP}
    else:
        assert judged == {"orderly": 2 * STEP}


def test_the_room_is_what_was_asked_for(crowd: Crowd) -> None:
    """Both ends of a connection are one each."""
    with attached(Sizes.for_connections(20_000)) as opened:
        crowd.do("open", 9_900)
        assert opened.stats()[Stat.CONN_FULL] == 0


def test_fin_wait2_fills_its_table_evenly(crowd: Crowd) -> None:
    """A quarter of the room is for connections in FIN_WAIT2, all of it can be used."""
    many = Sizes.for_connections(64_000)
    with attached(many) as opened:
        reader = Reader(opened, crowd.netns)
        crowd.do("open", 15_900)
        crowd.do("half", 15_900)
        reader.look()
        # The ring has room for 26,214 ends.
        for count in (8_000, 7_900):
            crowd.do("finish", count)
            reader.look()
        rows = reader.finish()
        stats = opened.stats()
    assert stats[Stat.CLOSING_FULL] == stats[Stat.CONN_FULL] == 0
    assert len(rows) == 2 * 15_900
    assert once(rows)
    assert verdicts(opened, rows) == {"orderly": 2 * 15_900}


def test_fin_wait2_of_connections_older_than_the_trace(crowd: Crowd) -> None:
    """Without a history: looked at while they wait, each is there once, and complete."""
    crowd.do("open", 2 * 1000)
    with attached(Sizes.for_connections(20_000)) as opened:
        reader = Reader(opened, crowd.netns)
        crowd.do("half", 1000)
        for _ in range(3):
            reader.look()
            time.sleep(0.3)
        crowd.do("finish", 1000)
        reader.look()
        # What waited in FIN_WAIT2 as an open socket for long is not overdue when the timewait socket begins.
        rows = reader.finish()
    assert len(rows) == 2000
    assert once(rows)
    assert verdicts(opened, rows) == {"orderly": 2000}


def test_a_tracer_that_stands_still_loses_nothing_unseen(crowd: Crowd) -> None:
    """Sockets that died and are never closed, more than can wait, over ten seconds apart."""
    room = FEW.closed_slots
    with attached(FEW) as opened:
        reader = Reader(opened, crowd.netns)
        crowd.do("open", 3 * room)
        crowd.do("dead", room)
        # closed_evict: CLOSED_OLD_NS
        time.sleep(10.5)
        crowd.do("dead", 2 * room)
        lost = reader.lost()
        rows = reader.finish()
        lost = reader.lost()
    assert len(rows) + lost == 6 * room
    assert lost == 0
    assert once(rows)
    assert verdicts(opened, rows) == {"abort-linger": 3 * room, "peer-reset": 3 * room}


def test_what_was_reported_is_no_loss_when_its_slot_is_needed(crowd: Crowd) -> None:
    room = FEW.closed_slots
    tiny = Sizes(FEW.conn_slots, room, FEW.timewait_slots, closes_pages=16)
    with attached(tiny) as opened:
        reader = Reader(opened, crowd.netns)
        crowd.do("open", 2 * room)
        for _ in range(8):
            crowd.do("dead", room // 8)
            reader.look()
        time.sleep(0.4)
        reader.look()
        time.sleep(10.2)
        # The ring is full of ends before the reader comes back.
        crowd.do("dead", room)
        rows = reader.finish()
        lost = reader.lost()
    assert lost > 0
    assert len(rows) + lost == 4 * room
    assert once(rows)


@pytest.mark.parametrize("mode", ["rst", "timewait"])
def test_the_last_moment_of_a_storm(storm: Storm, mode: str) -> None:
    """Programs go while connections end: no record lacks a fact because its program was gone."""
    found = Counter[str]()
    with storm_host() as namespace:
        for _ in range(3):
            with attached(Sizes()) as opened:
                reader = Reader(opened, namespace.netns)
                process = storm.start(namespace, 400_000, mode)
                until = time.monotonic() + 0.5
                while time.monotonic() < until:
                    reader.ring()
                opened.detach()
                rows = reader.finish()
                process.terminate()
                process.communicate()
                assert reader.lost() == 0
                found += verdicts(opened, rows)
    assert found.total() > 1000
    assert "undetermined" not in found, found


def test_what_a_connection_costs() -> None:
    """The number of the README: the value and the key of each slot, and what beside it belongs to the slot."""
    with (
        attached(Sizes.for_connections(1 << 17)) as opened,
        attached(Sizes.for_connections(1 << 16)) as half,
    ):
        grown = opened.memory() - half.memory()
    assert grown / (1 << 16) == pytest.approx(BYTES_A_CONNECTION, rel=0.02)
