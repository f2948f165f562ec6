# SPDX-License-Identifier: Apache-2.0
"""The judge of the incident lab: a report that tells the truth passes, every other one fails."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tracetw.errors import BadInput
from tracetw.host.clock import rfc3339
from tracetw.lab.incidents.catalogue import BY_NAME, INCIDENTS
from tracetw.lab.incidents.judge import SECOND, Told, problems
from tracetw.lab.incidents.run import chosen, listing
from tracetw.lab.incidents.stage import PORT

AT = 1767355200 * SECOND  # 2026-01-02T12:00:00Z
AHEAD = 3 * SECOND
TITLE = "api (pid 7) was killed by SIGKILL"
PAGE = f"<h1>{TITLE}</h1><p>12:00:03"
TRUTH: dict[str, Any] = {
    "hosts": {
        "web-1": {"ahead_ns": AHEAD, "netns_name": "a"},
        "api-1": {"ahead_ns": 0, "netns_name": "b"},
    },
    "incidents": [
        {
            "cause": "kill",
            "at_ns": AT,
            "until_ns": AT + 4 * SECOND,
            "host": "api-1",
            "address": "10.0.0.2",
            "port": PORT,
            "process": "api",
            "pid": 7,
            "reach": {"reset": 100, "refused": 200},
        }
    ],
}
TOLD: dict[str, Any] = {
    "incidents": [
        {
            "kind": "kill",
            "title": TITLE,
            "began": rfc3339(AT + AHEAD + SECOND // 2),
            "recovered": rfc3339(AT + AHEAD + 4 * SECOND),
            "total": 303,
            "phases": [{"what": "reset", "count": 101}, {"what": "refused", "count": 202}],
            "service": {"address": "10.0.0.2", "port": PORT},
            "actor": {"comm": "api", "pid": 7},
        }
    ],
    "hosts": [{"name": "web-1"}, {"name": "api-1"}],
    "clocks": [{"host": "api-1", "other": "web-1", "offset_ms": -3000.4, "sentence": "clocks"}],
    "settings": [{"namespaces": ["a"]}],
    "causes": [],
    "affected": 303,
    "in_incidents": 303,
}


def judged(change: Callable[[dict[str, Any]], object], text: str = PAGE) -> list[str]:
    document = copy.deepcopy(TOLD)
    change(document)
    return problems(TRUTH, Told(document, text, PAGE))


def test_the_truth_passes() -> None:
    assert judged(lambda _: None) == []


def on(**facts: Any) -> Callable[[dict[str, Any]], object]:
    """A report whose incident has other facts."""
    return lambda document: document["incidents"][0].update(facts)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (on(kind="restart"), "no incident kill"),
        (on(service={"address": "10.0.0.2", "port": 80}), "no incident kill of port 9101"),
        (on(service={"address": "10.0.0.3", "port": PORT}), "the address of the service"),
        (on(service=None), "the port of the service is None"),
        (on(began=rfc3339(AT)), "began -3.000 s from the act"),  # by the clock of the other host
        (on(began=rfc3339(AT + AHEAD + SECOND)), "began +1.000 s"),
        (on(recovered=rfc3339(AT + AHEAD + 6 * SECOND)), "recovered +2.000 s"),
        (on(total=304), "reach 304, not 300"),
        (on(total=296), "reach 296, not 300"),
        (on(phases=[{"what": "reset", "count": 100}]), "refused 0, not 200"),
        (on(actor={"comm": "api", "pid": 8}), "it was ('api', 8), not api (pid 7)"),
        (on(actor=None), "it was (None, None)"),
        (lambda told: told["incidents"].clear(), "no incident kill"),
        (lambda told: told["incidents"].append(dict(told["incidents"][0])), "did not happen"),
        (lambda told: told["causes"].append({"sentence": "x"}), "belongs to no incident: x"),
        (lambda told: told.update(affected=304), "303 of 304 affected"),
        (lambda told: told["settings"].append({"namespaces": ["a", "c"]}), "no recorded"),
        (lambda told: told["clocks"].clear(), "nothing is said of the clocks"),
        (lambda told: told["clocks"][0].update(offset_ms=3000), "clocks: it is -3.000 s"),
        (lambda told: told["hosts"].reverse(), "began +3.500 s"),
        (lambda told: told.pop("incidents"), "tells of no incidents"),
    ],
)
def test_what_is_not_true_fails(change: Callable[[dict[str, Any]], object], says: str) -> None:
    found = judged(change)
    assert any(says in problem for problem in found), found


def test_text_and_page_say_it_too() -> None:
    same: Callable[[dict[str, Any]], object] = lambda _: None  # noqa: E731
    assert judged(same, f"{TITLE}\n  at 12:00:03") == []
    assert judged(same, "api (pid 7) was\n  killed by SIGKILL at 12:00:03") == []
    assert judged(same, f"{TITLE} at 12:00:00") == ["kill: the text does not say '12:00:03'"]
    assert judged(same, "at 12:00:03") == [f"kill: the text does not say '{TITLE}'"]


def test_the_catalogue() -> None:
    names = [each.name for each in INCIDENTS]
    assert len(names) == len(BY_NAME) >= 12
    both = [each for each in INCIDENTS if len(each.hosts) > 1]
    assert len(both) >= len(INCIDENTS) / 2
    assert sum(bool(each.ahead_ms) for each in both) >= 5
    assert all(name in listing(INCIDENTS) for name in names)
    assert chosen([], everything=True) == INCIDENTS
    assert [each.name for each in chosen(["killed", "killed"], everything=False)] == ["killed"]
    with pytest.raises(BadInput, match="did you mean killed"):
        chosen(["kiled"], everything=False)
