# SPDX-License-Identifier: Apache-2.0
"""The lab book: complete, generated, and every sentence of it about a run true of the recorded run."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from scripts.checkout.made import ROOT
from scripts.pages.ladder_file import load
from tracetw.cli import main
from tracetw.errors import BadInput
from tracetw.lab.book.contents import BOOK, scenarios
from tracetw.lab.book.experiment import Experiment, Run, Statement
from tracetw.lab.book.measure import count, field, gap
from tracetw.lab.book.play import chosen
from tracetw.lab.book.show import answer, beginning, contents, plain, run_text
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.expect.match import EVERYTHING
from tracetw.lab.vagrant.catalogue import BY_NAME as BETWEEN_MACHINES

PAGE = ROOT / "docs" / "lab-book.md"
RUNS = [
    pytest.param(each, id=f"{number}-{each.scenario}")
    for number, experiment in enumerate(BOOK, 1)
    for each in experiment.runs
]
every = pytest.mark.parametrize("experiment", BOOK, ids=lambda each: each.name)


def test_there_are_twelve_in_order() -> None:
    assert len(BOOK) == 12
    assert len({each.name for each in BOOK}) == len(BOOK)
    text = PAGE.read_text(encoding="utf-8")
    places = [text.index(f"\n## {number}. ") for number in range(1, len(BOOK) + 1)]
    assert places == sorted(places)


def test_the_page_is_generated() -> None:
    script = ROOT / "scripts" / "gen-lab-book"
    done = subprocess.run(
        [sys.executable, "-I", str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@every
def test_an_experiment_is_whole(experiment: Experiment) -> None:
    assert experiment.question.endswith("?")
    assert experiment.guess.endswith("?")
    assert len(experiment.watch) >= 2
    assert len(experiment.runs) >= 2, "one run compares nothing"
    assert set(experiment.scenarios()) <= set(BY_NAME)
    assert experiment.machines
    assert set(experiment.machines) <= {*BY_NAME, *BETWEEN_MACHINES}
    said = " ".join(source.name for source in experiment.sources)
    assert re.search(r"\w+\(\) in net/|Linux commit", said), "no function of the kernel is named"
    assert "RFC" in said or experiment.name == "buckets-overflow"
    assert re.search(r"^\s|\s$|  ", experiment.guess) is None


@pytest.mark.parametrize("each", RUNS)
def test_what_the_page_says_was_seen(each: Run) -> None:
    outcome = load(each.scenario)
    assert each.findings
    assert each.wrong(outcome) == []
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    for finding in each.findings:
        number = finding.measure.words(outcome)
        assert number in page


@pytest.mark.parametrize("each", RUNS)
def test_every_setting_of_a_run_is_named(each: Run) -> None:
    """Who plays a scenario with other settings than the text says learns something else."""
    told = f"{each.title} {each.does}"
    for values in BY_NAME[each.scenario].on(EVERYTHING).sysctls.values():
        for name in values:
            assert name in told or "bucket" in told, name


def test_a_sentence_that_is_not_true_is_found() -> None:
    outcome = load("four-way-close")
    late = replace(outcome, segments=list(outcome.segments)[:-3])
    assert Statement("FINs: {}", count("FIN"), 2).wrong(outcome) == []
    assert Statement("FINs: {}", count("FIN"), 2).wrong(late) != []
    assert Statement("{}", gap("RST", "ACK"), 0).wrong(outcome) == [
        "{}: cannot be measured: list index out of range"
    ]
    assert Statement("{}", field("a", "verdict"), "linger-0").wrong(outcome) != []


@every
def test_the_terminal_says_what_the_page_says(experiment: Experiment) -> None:
    text = beginning(1, experiment)
    for number, each in enumerate(experiment.runs, 1):
        outcome = load(each.scenario)
        shown = run_text(number, each, outcome)
        assert "NOT SO" not in shown
        for finding in each.findings:
            assert plain(finding.said(outcome)) in " ".join(shown.split())
        text += shown
    text += answer(experiment)
    assert "`" not in text
    assert "](" not in text
    longest = max((line for line in text.splitlines() if "  * " not in line), key=len)
    assert len(longest) <= 80, longest


def test_a_run_that_is_otherwise_says_so() -> None:
    each = BOOK[0].runs[1]
    shown = run_text(1, each, load("four-way-close"))
    assert "NOT SO: The form of A's end is {}.: 'fin-4', not 'fin-3'" in shown


def test_the_list_and_what_is_not_in_it() -> None:
    listed = CliRunner().invoke(main, ["lab", "book"])
    assert listed.exit_code == 0
    assert listed.output == contents(BOOK) + "\n"
    assert chosen((3, 1, 3)) == (3, 1)
    for number in (0, 13, -1):
        with pytest.raises(BadInput, match="there is no experiment"):
            chosen((number,))


def test_names_are_those_of_the_catalogue() -> None:
    assert len(scenarios()) == len(set(scenarios()))
