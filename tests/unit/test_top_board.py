# SPDX-License-Identifier: Apache-2.0
"""What the board of the full screen counts and keeps: exact, and bounded whatever comes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.recording_files import everything, golden
from tests.unit.sink_rows import ORDINARY, closes, packed
from tests.unit.top_boards import HERE, START_NS, fed, recorded, reset_at, resets
from tracetw.replay.source import context_of
from tracetw.stream.batch import Closes, Loss
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages
from tracetw.top import groups, kept
from tracetw.top.board import ABNORMAL, SECOND, Board
from tracetw.top.connections import find
from tracetw.top.groups import KEY, FailureGroups, keys_of, marks_of, shown_key
from tracetw.top.slots import KEPT, VerdictSlots
from tracetw.verdict.taxonomy import VERDICT_INDEX

FIRST = START_NS // SECOND


def test_the_golden_recording_is_counted_as_replay_counts_it() -> None:
    board = recorded()
    (summary,) = board.summaries
    assert {
        code: int(board.counts[VERDICT_INDEX[code]]) for code in summary.closes
    } == summary.closes
    assert board.counts.sum() == len(everything(golden()))
    total = board.total(board.slots.first, board.slots.newest)
    assert (total == board.counts).all()
    cells = board.groups.between(board.slots.first, board.slots.newest)
    assert cells["count"].sum() == board.counts[ABNORMAL].sum()
    numbers = np.concatenate([piece.numbers for piece in board.pieces()])
    assert sorted(numbers.tolist()) == [*range(int(board.counts.sum()))]


def test_stretches_of_time_are_forgotten_in_order_and_never_counted_twice() -> None:
    slots = VerdictSlots(SECOND)
    verdict = np.zeros(3, np.uint8)
    slots.add(slots.of(np.array([10, 11, 11]) * SECOND), verdict)
    assert slots.between(9, 12).sum(axis=1).tolist() == [0, 1, 2, 0]
    # Earlier than the first, as of a second recording.
    slots.add(slots.of(np.array([7 * SECOND])), verdict[:1])
    assert slots.between(7, 11).sum(axis=1).tolist() == [1, 0, 0, 1, 2]
    slots.add(slots.of(np.array([(10 + KEPT) * SECOND])), verdict[:1])
    assert slots.first == 11
    assert slots.between(7, 10 + KEPT).sum() == 3
    # Older than everything that is kept: it counts in the oldest stretch.
    slots.add(slots.of(np.array([3 * SECOND])), verdict[:1])
    assert slots.between(11, 11).sum() == 3
    # A leap forgets all, a leap back changes nothing.
    slots.reach(10 + 5 * KEPT)
    slots.reach(12)
    assert slots.newest == 10 + 5 * KEPT
    assert not slots.between(0, 10 + 5 * KEPT)[-KEPT:].any()


@pytest.mark.parametrize("seconds", [-(2**62) // SECOND, 0, 2**62 // SECOND])
def test_times_that_cannot_be_are_counted_all_the_same(seconds: int) -> None:
    slots = VerdictSlots(SECOND)
    slots.add(slots.of(np.array([FIRST * SECOND])), np.zeros(1, np.uint8))
    slots.add(slots.of(np.array([seconds * SECOND])), np.zeros(1, np.uint8))
    assert slots.between(slots.newest - KEPT + 1, slots.newest).sum() >= 1


def test_groups_are_by_owner_verdict_peer_and_the_port_of_the_service() -> None:
    batch = resets(1, 1, 2)
    batch.rows["rport"] = [5000, 5001, 5000]
    board = fed(batch)
    assert sorted(board.groups.between(FIRST, FIRST + 3)["count"].tolist()) == [1, 2]
    server = resets(1, 1.5, 2, flags=ORDINARY["flags"] & ~2 | 4)
    server.rows["rport"] = [5000, 5001, 5002]
    (cell,) = fed(server).groups.between(FIRST, FIRST + 3)
    assert (cell["count"], cell["slot"]) == (3, FIRST + 2)
    assert shown_key(cell["key"]).text == "nginx peer-reset 10.0.0.2 to:443"


def random_keys(count: int, seed: int = 1) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    raw = random.integers(0, 256, (count, KEY.itemsize), np.uint8)
    keys: NDArray[Any] = raw.view(KEY).reshape(count)
    keys["verdict"], keys["role"] = VERDICT_INDEX["peer-reset"], 1
    return keys


def test_no_two_keys_meet() -> None:
    """Also where they differ in one bit only, which is what a name or an address can be made to do."""
    one = np.zeros((1 + 8 * KEY.itemsize, KEY.itemsize), np.uint8)
    for bit in range(8 * KEY.itemsize):
        one[bit + 1, bit // 8] = 1 << bit % 8
    marks = marks_of(np.concatenate([one.view(KEY).reshape(-1), random_keys(100_000)]))
    assert len(np.unique(marks)) == len(marks)


def test_a_storm_of_peers_is_counted_in_bounded_memory() -> None:
    cells, total = FailureGroups(), 0
    for second in range(300):
        keys = random_keys(2000, second)
        cells.add(np.full(2000, second), keys, marks_of(keys))
        total += 2000
    found = cells.between(200, 299)
    assert cells.since <= 200
    assert found["count"].sum() == 100 * 2000
    # The rest of each stretch is one group.
    others = found[found["key"]["role"] == 255]
    assert len(others) == 1
    assert shown_key(others[0]["key"]).owner == "(all others)"
    assert len(found) <= 100 * 256 + 1
    assert len(cells._cells) <= groups._KEPT
    keys = random_keys(2000)
    for _ in range(50):  # the most frequent ones stay
        cells.add(np.full(10, 300), keys[:10], marks_of(keys[:10]))
    cells.add(np.full(2000, 300), keys, marks_of(keys))
    best = cells.between(300, 300)
    assert sorted(best["count"].tolist())[-11:-1] == [51] * 10


def test_what_is_kept_of_connections_is_bounded_and_says_since_when() -> None:
    board = Board(utc=True, recorded=True)
    sink = board.sink(HERE)
    batch = resets(*[1.0] * 1000)
    ordinary = closes(*[{}] * 1000)
    for second in range(60):
        moved = batch.rows.copy()
        moved["at"][:, :5] += np.uint64(second * SECOND)
        sink.closes(Closes(moved, batch.findings, batch.clock, batch.at + second * SECOND))
        sink.closes(ordinary)
    abnormal = sum(len(piece.at) for piece in board.abnormal.pieces())
    orderly = sum(len(piece.at) for piece in board.ordinary.pieces())
    assert 19_000 <= abnormal <= 20_000
    assert 3_500 <= orderly <= 4_000
    assert board.counts.sum() == 120_000
    assert board.abnormal.since_ns == START_NS + 40 * SECOND
    last = board.abnormal.pieces()[-1]
    assert int(last.numbers[-1]) == 119_000 - 1
    assert kept._SHARE == 8


def test_connections_that_end_one_by_one_are_kept_together() -> None:
    board = fed(*(resets(second) for second in range(1, 2001)))
    pieces = board.abnormal.pieces()
    assert len(pieces) == 4
    assert np.concatenate([piece.numbers for piece in pieces]).tolist() == [*range(2000)]
    found = find(board, 1234)
    assert found is not None
    assert found.closes.at.tolist() == [START_NS + 1235 * SECOND]


def test_the_board_of_a_day_of_storm_does_not_grow() -> None:
    slots, cells = VerdictSlots(SECOND), FailureGroups()
    sizes = []
    for hour in range(0, 86_400, 3600):
        for second in range(hour, hour + 3600, 60):
            keys = random_keys(64, second)
            cells.add(slots.of(np.full(64, second * SECOND)), keys, marks_of(keys))
        sizes.append(cells._cells.nbytes)
    assert max(sizes) <= groups._KEPT * groups.CELL.itemsize


def test_ends_are_placed_by_one_clock_though_wall_time_was_set() -> None:
    """A day back in the middle of a trace: the screen goes on."""
    batch = resets(5)
    day = 86_400 * SECOND
    set_back = Closes(
        batch.rows,
        batch.findings,
        type(batch.clock)(batch.clock.offset_ns - day, 0),
        batch.at - day,
    )
    board = fed(resets(1), set_back)
    assert board.total(FIRST, FIRST + 10).sum() == 2


def test_losses_are_counted_and_the_last_are_kept() -> None:
    board = Board(utc=True)
    sink = board.sink(HERE)
    for at in range(5000):
        sink.loss(Loss(2, "ring", at, at + 1))
    assert board.lost == 10_000
    assert len(board.losses) == 1000


def test_it_stands_behind_the_stages_like_any_other_sink() -> None:
    recording = golden()
    board = Board(recorded=True)
    context = context_of(recording)
    stages = Stages(context, Filter.parse(abnormal=True), board.sink(context))
    from tracetw.replay.source import ends  # noqa: PLC0415

    for one in ends(recording):
        stages.feed(one)
    assert board.counts[~ABNORMAL].sum() == 0
    assert board.counts.sum() == sum(stages.by_verdict().values()) > 0


def test_keys_hold_what_the_row_has() -> None:
    (key,) = keys_of(closes(reset_at(1, remote="2001:db8::7", family=10)))
    assert bytes(key["raddr"]) == bytes(packed("2001:db8::7"))
    assert shown_key(key).peer == "[2001:db8::7]:51234"
    assert sys.getsizeof(key) < 200
