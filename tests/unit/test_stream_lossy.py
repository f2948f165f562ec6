# SPDX-License-Identifier: Apache-2.0
"""What a loss weakens, by time, whatever the batches are."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.unit.sink_rows import CLOCK, CONTEXT, ORDINARY, closes
from tracetw.stream.batch import Closes, Ends, Events, Loss, Summary
from tracetw.stream.filter import Filter
from tracetw.stream.lossy import Lossy
from tracetw.stream.stages import Stages
from tracetw.verdict.taxonomy import CONFIDENCE

SECOND = 1_000_000_000
WEAKENED = CONFIDENCE.index("weakened")


def weak(losses: list[tuple[int, int]], *at: int) -> list[bool]:
    lossy = Lossy()
    for since, until in losses:
        lossy.add(Loss(1, "here", since, until))
    found: list[bool] = lossy.weakens(np.array(at, np.int64)).tolist()
    return found


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (9 * SECOND, False),
        (10 * SECOND, False),  # nothing was lost until then
        (10 * SECOND + 1, True),
        (12 * SECOND, True),
        (13 * SECOND, True),
        (13 * SECOND + 1, False),
    ],
)
def test_what_ended_since_then_and_a_second_later(at: int, *, expected: bool) -> None:
    assert weak([(10 * SECOND, 12 * SECOND)], at) == [expected]


def test_no_loss_weakens_nothing() -> None:
    assert weak([], 0, 5) == [False, False]


def test_spans_that_touch_are_one_and_their_order_does_not_matter() -> None:
    losses = [(k * SECOND // 10, (k + 1) * SECOND // 10) for k in range(1000)]
    random = np.random.default_rng(1)
    lossy = Lossy()
    for place in random.permutation(len(losses)):
        lossy.add(Loss(1, "here", *losses[place]))
    assert (lossy._since, lossy._until) == ([0], [101 * SECOND])
    far = (500 * SECOND, 501 * SECOND)
    assert weak([*losses, far], 102 * SECOND, 501 * SECOND) == [False, True]


def test_a_hundred_thousand_losses_of_a_recording_take_no_time() -> None:
    lossy = Lossy()
    began = time.process_time()
    for place in reversed(range(100_000)):
        lossy.add(Loss(1, "here", 3 * place * SECOND, 3 * place * SECOND))
    assert time.process_time() - began < 10
    assert lossy.weakens(np.array([SECOND, 2 * SECOND])).tolist() == [True, False]


class Told:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.batches: list[Closes] = []

    def head(self) -> None:
        """Nothing."""

    def closes(self, batch: Closes) -> None:
        self.batches.append(batch)

    def events(self, batch: Events) -> None:
        raise NotImplementedError

    def loss(self, loss: Loss) -> None:
        """Nothing."""

    def summary(self, summary: Summary) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("size", [1, 7, 100])
def test_batches_of_any_size_are_weakened_alike(size: int) -> None:
    rows = closes(*[{}] * 100).rows
    rows["at"][:, :5] += (np.arange(100, dtype=np.uint64) * np.uint64(SECOND // 10))[:, None]
    told = Told()
    stages = Stages(CONTEXT, Filter(), told)
    end = CLOCK.to_wall_ns(int(ORDINARY["at"][4]))
    stages.feed(Loss(3, "here", end + 3 * SECOND, end + 4 * SECOND))
    for first in range(0, 100, size):
        stages.feed(Ends(rows[first : first + size], CLOCK))
    confidence = np.concatenate([batch.findings.confidence for batch in told.batches])
    assert np.flatnonzero(confidence == WEAKENED).tolist() == [*range(31, 51)]
    assert (stages.lost, stages.judged, stages.unwritten) == (3, 100, 0)


def test_losses_are_counted_by_place_and_of_many_places_in_one() -> None:
    stages = Stages(CONTEXT, Filter())
    for number in range(20):
        stages.loss(Loss(2, f"place {number}", 1, 2))
    stages.loss(Loss(5, "place 3", 1, 2))
    stages.loss(Loss(7, "place 3", 1, 2), counted=False)
    assert stages.lost_at["place 3"] == 7
    assert stages.lost_at["elsewhere"] == 2 * 12
    assert sum(stages.lost_at.values()) == stages.lost == 45
    assert len(stages.lost_at) == 9
