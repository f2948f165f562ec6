# SPDX-License-Identifier: Apache-2.0
"""Expectations against what was seen."""

from __future__ import annotations

from typing import Any

import pytest

from tracetw.lab.expect.match import (
    EVERYTHING,
    SOME,
    accepted,
    at_least,
    between,
    differences,
    known_by,
    one_of,
    path,
    resolved,
)
from tracetw.lab.expect.scenario import Differs
from tracetw.lab.play.check import check_events, check_lines, check_sums


def line(verdict: str, *states: str, **more: Any) -> dict[str, Any]:
    times = [{"state": state, "at_ms": float(at)} for at, state in enumerate(states)]
    return {"verdict": verdict, "time_wait": "none", "states": times, **more}


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (5, 5),
        ({"a": 1}, {"a": 1, "b": 2}),
        (between(1, 2), 1.5),
        (at_least(1), 1),
        (one_of(None, 3), None),
        (SOME, "x"),
        (path("A", "B"), line("", "A", "B")["states"]),
        (accepted("CLOSE"), line("", "ESTABLISHED", "CLOSE")["states"]),
        (accepted("CLOSE"), line("", "SYN_RECV", "ESTABLISHED", "CLOSE")["states"]),
    ],
)
def test_holds(expected: object, actual: object) -> None:
    assert differences(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual", "says"),
    [
        (5, 6, ": 6, not 5"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b: 2, not 1"),
        ({"a": {"b": 1}}, {"a": None}, "a: None, not an object"),
        ({"a": 1}, {}, "a: absent"),
        (between(1, 2), None, ": None, not 1..2"),
        (path("A", "B"), line("", "B", "A")["states"], "not A > B"),
    ],
)
def test_names_the_place(expected: object, actual: object, says: str) -> None:
    (found,) = differences(expected, actual)
    assert says in found


def test_what_a_kernel_does_not_show_is_expected_otherwise() -> None:
    wanted = {"a": (known_by("x", {"b": known_by("y", 1, otherwise=2)}, otherwise=3),)}
    assert resolved(wanted, EVERYTHING) == {"a": ({"b": 1},)}
    assert resolved(wanted, frozenset({"x"})) == {"a": ({"b": 2},)}
    assert resolved(wanted, frozenset()) == {"a": (3,)}


def test_anything_may_be_absent() -> None:
    wanted = resolved({"counter": known_by("counter", 1)}, frozenset())
    assert differences(wanted, {}) == []


def test_times_must_not_go_back() -> None:
    states = [{"state": "A", "at_ms": 2.0}, {"state": "B", "at_ms": 1.0}]
    assert differences(path("A", "B"), states)


def test_lines_match_in_any_order() -> None:
    assert check_lines("a", [{"verdict": "x"}, {"verdict": "y"}], [line("y"), line("x")]) == []


def test_a_line_too_many_or_too_few() -> None:
    assert check_lines("a", [], [line("x")]) == ["a: one close line too many: x"]
    assert check_lines("b", [{"verdict": "x"}], []) == ["b: no close line 1 of 1"]


def test_one_line_does_not_answer_twice() -> None:
    assert check_lines("a", [{"verdict": "x"}] * 2, [line("x")]) == ["a: no close line 2 of 2"]


def test_nearest_line_is_held_against() -> None:
    lines = [line("x", role="server"), line("y", role="client")]
    found = check_lines("a", [{"verdict": "x", "role": "client", "time_wait": "none"}], lines[:1])
    assert found == ["a: role: 'server', not 'client'"]


@pytest.mark.parametrize("wanted", [2, at_least(2), {"age_ms": 3}])
def test_events_by_number_or_by_content(wanted: object) -> None:
    events = [{"event": "reacked", "age_ms": age} for age in (3, 4)]
    assert check_events("a", {"reacked": wanted}, events) == []


@pytest.mark.parametrize("wanted", [1, at_least(3), {"age_ms": 9}])
def test_events_that_do_not_fit(wanted: object) -> None:
    events = [{"event": "reacked", "age_ms": age} for age in (3, 4)]
    (found,) = check_events("a", {"reacked": wanted}, events)
    assert found.startswith("a: event reacked")


def test_an_event_that_must_not_be() -> None:
    assert check_events("a", {"entered": 0}, []) == []
    assert check_events("a", {"entered": 0}, [{"event": "entered"}]) != []


RESET = line("abort-unread", "ESTABLISHED", "CLOSE")


def test_verdicts_add_up() -> None:
    assert check_sums("a", [RESET], {"TCPAbortOnClose": 1, "EstabResets": 1, "TW": 0}, {}) == []


def test_verdicts_do_not_add_up() -> None:
    (found,) = check_sums("a", [RESET], {"TCPAbortOnClose": 2}, {})
    assert found == "a: TCPAbortOnClose: the kernel counted 2, not 1"


def test_an_explained_difference_must_be_exactly_that() -> None:
    differs = {"TCPAbortOnClose": Differs(2, 1, "tcp_x does it")}
    assert check_sums("a", [RESET], {"TCPAbortOnClose": 2}, differs) == []
    assert check_sums("a", [RESET], {"TCPAbortOnClose": 1}, differs) != []
