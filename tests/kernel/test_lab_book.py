# SPDX-License-Identifier: Apache-2.0
"""Every run of the lab book, played on this kernel: each sentence of the book about it must be true of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import cast

import pytest

from scripts.pages.ladder_file import load
from tests.kernel.kit.plays import Plays, playing
from tracetw.lab.book.contents import BOOK, scenarios
from tracetw.lab.book.experiment import Experiment, Run
from tracetw.lab.book.play import AT_ONCE, BookOptions, run
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.expect.kernel import shown
from tracetw.lab.play.outcome import ENDS, Job, Outcome

FAMILY = 4
JOBS = {name: Job(BY_NAME[name], FAMILY) for name in scenarios()}
RUNS = [
    pytest.param(each, experiment, id=f"{number}-{each.scenario}")
    for number, experiment in enumerate(BOOK, 1)
    for each in experiment.runs
]
TOLD = ("role", "verdict", "first_close", "closed_by", "time_wait", "error")

# One run waits for a time that the kernel fixes.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest) -> Iterator[Plays]:
    """Plays what was selected of the book."""
    selected = {
        cast("Run", item.callspec.params["each"]).scenario
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and hasattr(item, "callspec")
    }
    jobs = [job for name, job in JOBS.items() if name in selected]
    with playing(jobs, at_once=2 * AT_ONCE) as made:
        yield made


@pytest.mark.plays_again
@pytest.mark.parametrize(("each", "experiment"), RUNS)
def test_what_the_book_says_happens(
    plays: Plays, each: Run, experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    # Where the scenario passes and a time is out of its bounds, the machine was busy.
    outcome, reasons = plays.outcome(
        JOBS[each.scenario], lambda played: each.wrong(played, shown())
    )
    with capsys.disabled():
        for reason in reasons:
            print(f"\n{reason}")
    if outcome.skipped is not None:
        pytest.skip(outcome.skipped)
    assert outcome.problems == []
    assert each.wrong(outcome, shown()) == [], experiment.question
    recorded = load(each.scenario)
    shapes = [outline(one) for one in (outcome, recorded)]
    if BY_NAME[each.scenario].nat:  # which client has the older timestamps is up to chance
        shapes = [sorted(shape) for shape in shapes]
    assert shapes[0] == shapes[1]
    if known() <= shown():  # else a line may say less, as the scenario allows
        assert told(outcome) == told(recorded)


def outline(outcome: Outcome) -> list[tuple[str, tuple[str, ...], bool]]:
    """The packets without what depends on how busy a machine is: pure ACKs, and repetitions in a row."""
    found = [
        (segment.direction, tuple(sorted(segment.flags - {"ACK", "PSH"})), segment.payload > 0)
        for segment in outcome.segments
        if segment.payload or segment.flags != {"ACK"}
    ]
    return [key for key, _ in groupby(found)]


def known() -> set[str]:
    """What the kernel of the recorded runs shows and an older one does not."""
    return {"reset-reason", "drop-socket"}


def told(outcome: Outcome) -> list[tuple[str, ...]]:
    """What tracetw says of each end, without what depends on how busy the machine is."""
    return sorted(
        (letter, *(str(line.get(name)) for name in TOLD))
        for letter in ENDS
        for line in outcome.lines[letter]
    )


def test_the_command_plays_an_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(BookOptions((4,), 6, None)) == 0
    text = capsys.readouterr().out
    assert "NOT SO" not in text
    assert "WRONG" not in text
    for each in BOOK[3].runs:
        assert f"Scenario {each.scenario}." in " ".join(text.split())
    assert "peer-lost-state" in text
