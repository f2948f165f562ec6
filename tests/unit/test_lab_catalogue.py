# SPDX-License-Identifier: Apache-2.0
"""The catalogue as data: complete, and consistent in itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields

import pytest

from tracetw.errors import BadInput
from tracetw.event.record import Drop, EventKind, Timewait
from tracetw.kernel.capability import HOOKS, KERNEL_FACTS
from tracetw.kernel.function_probe import FUNCTION_PROBES
from tracetw.kernel.plan import DROP_MACROS
from tracetw.lab.catalogue import SCENARIOS
from tracetw.lab.expect.kernel import BEHAVIOURS
from tracetw.lab.expect.lines import addressed
from tracetw.lab.expect.match import EVERYTHING, KnownBy
from tracetw.lab.expect.scenario import Scenario, as_lines
from tracetw.lab.net.host import SYSCTLS
from tracetw.lab.net.wire import Packet, matches
from tracetw.lab.play.command import chosen
from tracetw.reconcile.compare import WITH_EVENTS
from tracetw.sink.event_document import event_name
from tracetw.verdict.taxonomy import CLOSED_BY, FIRST_CLOSE, FORMS, TIME_WAIT, VERDICT_INDEX

# Of the kernel on which the scenario is played; the lab takes no notice of them in its base.
OTHER_SYSCTLS = {"tcp_rto_max_ms", "tcp_fastopen"}
SEGMENT = Packet(0, "A>B", frozenset({"ACK"}), 0, 0, 0, 0, (1, 2))

# As expected of a kernel that shows everything, and of one that shows nothing.
FULL = [scenario.on(EVERYTHING) for scenario in SCENARIOS]
BARE = [scenario.on(frozenset()) for scenario in SCENARIOS]

every = pytest.mark.parametrize(
    "scenario",
    [*FULL, *BARE],
    ids=[scenario.name for scenario in FULL] + [f"{scenario.name}-bare" for scenario in BARE],
)


def expected_events() -> set[str]:
    """Events that some scenario wants to see at least once."""
    return {
        name
        for scenario in FULL
        for events in scenario.events.values()
        for name, wanted in events.items()
        if wanted != 0
    }


def names(kind: EventKind, codes: type[Timewait | Drop]) -> set[str]:
    return {event_name(kind, code) for code in codes}


def test_every_verdict_has_a_scenario() -> None:
    shown = {code for scenario in SCENARIOS for code in scenario.verdicts()}
    assert set(VERDICT_INDEX) <= shown


def test_every_timewait_event_has_a_scenario() -> None:
    assert names(EventKind.TIMEWAIT, Timewait) <= expected_events()


def test_every_drop_event_has_a_scenario() -> None:
    assert names(EventKind.DROP, Drop) <= expected_events()


def test_names_are_unique() -> None:
    assert [name for name, times in Counter(s.name for s in SCENARIOS).items() if times > 1] == []


def dependences(value: object) -> Iterator[str]:
    """Names of the facts on which an expectation depends."""
    if isinstance(value, KnownBy):
        yield value.shown
        value = (value.expected, value.otherwise)
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple):
        for entry in value:
            yield from dependences(entry)


def test_depends_on_facts_that_can_be_looked_at() -> None:
    facts = (
        {hook.program for hook in HOOKS} | {want.slug for want in KERNEL_FACTS} | set(BEHAVIOURS)
    )
    facts |= {row.program for row in FUNCTION_PROBES}
    counters = {name for names in WITH_EVENTS.values() for name in names}
    known = facts | counters | OTHER_SYSCTLS | set(DROP_MACROS.values())
    for scenario in SCENARIOS:
        assert set(dependences(tuple(vars_of(scenario)))) <= known, scenario.name


def vars_of(scenario: Scenario) -> list[object]:
    return [getattr(scenario, entry.name) for entry in fields(scenario)]


@every
def test_claims_one_sentence(scenario: Scenario) -> None:
    assert scenario.claim.endswith(".")


@every
def test_is_seen_from_both_ends_and_from_outside(scenario: Scenario) -> None:
    assert as_lines(scenario.a)
    attempt = getattr(as_lines(scenario.a)[0].get("states"), "words", "") == "SYN_SENT > CLOSE"
    assert as_lines(scenario.b) or attempt or scenario.verdicts()[0].startswith("connect-")
    assert scenario.wire
    assert any(scenario.counters.values()) or scenario.removes


@every
def test_speaks_of_what_there_is(scenario: Scenario) -> None:
    for pattern in (*scenario.wire, *scenario.order):
        matches(pattern, SEGMENT)
    known = names(EventKind.TIMEWAIT, Timewait) | names(EventKind.DROP, Drop)
    hosts = {"a", "b", "r"} if scenario.nat else {"a", "b"}
    for events in scenario.events.values():
        assert set(events) <= known
    for table in (scenario.events, scenario.counters, scenario.differs, scenario.sysctls):
        assert set(table) <= hosts
    for values in scenario.sysctls.values():
        assert set(values) <= set(SYSCTLS) | OTHER_SYSCTLS
    assert set(scenario.verdicts()) <= set(VERDICT_INDEX)


@every
def test_expects_values_of_the_contract(scenario: Scenario) -> None:
    allowed = {
        "form": FORMS,
        "first_close": FIRST_CLOSE,
        "closed_by": CLOSED_BY,
        "time_wait": TIME_WAIT,
    }
    for line in (*as_lines(scenario.a), *as_lines(scenario.b)):
        for name, values in allowed.items():
            assert not isinstance(line.get(name), str) or line[name] in values


@every
def test_explains_each_difference_by_a_kernel_function(scenario: Scenario) -> None:
    for values in scenario.differs.values():
        for why in values.values():
            assert why.kernel != why.verdicts
            assert "_" in why.because.split()[0]


@pytest.mark.parametrize(("role", "local"), [("client", "1.1.1.1"), ("server", "2.2.2.2")])
def test_addresses_follow_from_the_role(role: str, local: str) -> None:
    line = addressed(role, {"a": "1.1.1.1", "b": "2.2.2.2"}, 4)
    assert (line["family"], line["local"]["addr"]) == (4, local)


def test_names_choose_scenarios_once_each() -> None:
    assert [s.name for s in chosen(["linger-0", "linger-0"], everything=False)] == ["linger-0"]
    assert chosen([], everything=True) == SCENARIOS


@pytest.mark.parametrize(
    ("names", "says"), [([], "--all"), (["linger-9"], "did you mean linger-0"), (["q"], "lab list")]
)
def test_names_that_are_none(names: list[str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        chosen(names, everything=False)
