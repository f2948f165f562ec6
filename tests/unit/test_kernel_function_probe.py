# SPDX-License-Identifier: Apache-2.0
"""Which function probes are planned, and what is done about one that the kernel refuses."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tracetw.kernel import function_probe
from tracetw.kernel.attach_point import FAMILIES, AttachType
from tracetw.kernel.btf import VMLINUX, Btf
from tracetw.kernel.capability import HOOKS, KERNEL_FACTS, Answers, survey
from tracetw.kernel.function_probe import FUNCTION_PROBES
from tracetw.kernel.load import loader
from tracetw.kernel.load.loader import ProbeRefused, load_best
from tracetw.kernel.plan import EVENTS, HEADERS, SECOND, Plan, make_plan
from tracetw.kernel.unit import join, source_dir

pytestmark = pytest.mark.skipif(
    not os.access(VMLINUX, os.R_OK), reason="needs the running kernel's BTF"
)

TRAMPOLINES, BREAKPOINTS = FAMILIES.values()
# Old enough to need all of them.
OLD = frozenset({"packet_drop", "drop-socket"})
EVERY = frozenset({"timewait", "drop"})
NAMES = {row.program for row in FUNCTION_PROBES}


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf.read()


def there(btf: Btf) -> set[str]:
    """Programs of the rows whose function this kernel has as it is expected."""
    numbers = btf.functions(row.function for row in FUNCTION_PROBES)
    return {
        row.program
        for row in FUNCTION_PROBES
        if row.function in numbers
        and btf.parameters(numbers[row.function])[: len(row.takes)] == row.takes
    }


def only(types: frozenset[AttachType]) -> Answers:
    """As if the kernel took these attach types alone."""
    return Answers({family: "" if FAMILIES[family] <= types else "refused" for family in FAMILIES})


def plan_of(btf: Btf, kinds: frozenset[AttachType], without: frozenset[str] = OLD) -> Plan:
    return make_plan(btf, 250, answers=only(kinds), without=without, events=EVERY)


def seated(plan: Plan) -> set[str]:
    return {placed.probe.program for placed in plan.probes}


def test_without_a_way_to_attach_there_is_the_floor_alone(btf: Btf) -> None:
    plan = make_plan(btf, 250)
    assert plan.probes == ()
    assert plan.headers == HEADERS
    assert {where.type for where in plan.attach_points} == {AttachType.RAW_TRACEPOINT}


@pytest.mark.parametrize("kinds", [TRAMPOLINES, BREAKPOINTS], ids=["fentry", "kprobe"])
def test_every_function_that_is_there_is_used(btf: Btf, kinds: frozenset[AttachType]) -> None:
    plan = plan_of(btf, kinds)
    assert seated(plan) == there(btf)
    assert {where.type for placed in plan.probes for where in placed.points} - kinds <= {
        AttachType.RAW_TRACEPOINT
    }


def test_trampolines_come_before_breakpoints(btf: Btf) -> None:
    plan = plan_of(btf, TRAMPOLINES | BREAKPOINTS)
    assert {placed.type for placed in plan.probes} <= TRAMPOLINES
    without = plan_of(btf, TRAMPOLINES | BREAKPOINTS, OLD | {"fentry", "fexit"})
    assert {placed.type for placed in without.probes} <= BREAKPOINTS
    assert seated(plan) == seated(without)


@pytest.mark.parametrize("kinds", [TRAMPOLINES, BREAKPOINTS], ids=["fentry", "kprobe"])
def test_each_program_has_its_source_and_its_way_to_the_arguments(
    btf: Btf, kinds: frozenset[AttachType]
) -> None:
    plan = plan_of(btf, kinds)
    text = join(plan)
    named = re.findall(r"(?:^#define (?:PROGRAM|SECOND) |^int )(\w+)", text, re.MULTILINE)
    assert {where.program for where in plan.attach_points} <= set(named)
    for name in seated(plan):
        assert plan.macros[f"HAVE_{name.upper()}"] == "1"
        assert f"CALL_{name}(call, ctx)" in plan.macros


def test_a_return_probe_comes_with_one_at_the_entry(btf: Btf) -> None:
    for placed in plan_of(btf, BREAKPOINTS).probes:
        if placed.probe.result:
            assert [where.type for where in placed.points] == [
                AttachType.KPROBE,
                AttachType.KRETPROBE,
            ]
            assert placed.points[0].program == f"{placed.points[1].program}_enter"


def test_records_are_opened_after_all_that_is_attached(btf: Btf) -> None:
    *_, last, again = plan_of(btf, TRAMPOLINES).attach_points
    assert (last.program, again.program) == ("state_change", f"{SECOND}state_change")


@pytest.mark.parametrize("row", FUNCTION_PROBES, ids=lambda row: row.program)
def test_one_that_is_left_out_leaves_nothing_behind(btf: Btf, row: Any) -> None:
    plan = plan_of(btf, TRAMPOLINES, OLD | {row.program})
    assert row.program not in seated(plan)
    assert f"int {row.program}(" not in join(plan)
    assert f"HAVE_{row.program.upper()}" not in plan.macros


def test_a_function_with_other_arguments_is_another_one(
    btf: Btf, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(FUNCTION_PROBES[0], takes=("sock", "tcphdr"))
    monkeypatch.setattr(function_probe, "FUNCTION_PROBES", (other, *FUNCTION_PROBES[1:]))
    assert other.program not in seated(plan_of(btf, TRAMPOLINES))


@pytest.mark.parametrize("row", FUNCTION_PROBES, ids=lambda row: row.program)
def test_one_that_tracepoints_make_superfluous_is_not_used(btf: Btf, row: Any) -> None:
    plan = make_plan(btf, 250, answers=only(TRAMPOLINES), events=EVERY)
    if row.unless & set(plan.macros):
        assert row.program not in seated(plan)
    closes = make_plan(btf, 250, answers=only(TRAMPOLINES))
    assert bool(row.event) <= (row.program not in seated(closes))


def test_what_a_function_probe_replaces_is_attached_for_its_events_only(btf: Btf) -> None:
    make = partial(make_plan, btf, 250, answers=only(TRAMPOLINES), without=OLD)
    closes, drops = make(), make(events=EVERY)
    assert "timewait_packet" in seated(closes) & seated(drops)
    assert "packet_drop_skb" not in {where.program for where in closes.attach_points}
    assert "packet_drop_skb" in {where.program for where in drops.attach_points}


def test_what_nobody_can_tell_of_a_listener_is_named(btf: Btf) -> None:
    """Either queue may be the reason, and the ACK of a SYN cookie is dropped for none of its own."""
    plan = plan_of(btf, TRAMPOLINES)
    if not seated(plan) >= {"listener_syn", "request_made", "listener_dropped"}:
        pytest.skip("this kernel has not all of these functions")
    of_acks = "ACKs" if plan.names.drop_reason("TCP_LISTEN_OVERFLOW") < 0 else "ACKs of SYN cookies"
    assert plan.hidden["ListenOverflows"].startswith(f"{of_acks} that met")
    for counter in ("ListenOverflows", "TCPReqQFullDrop"):
        assert "SYNs that met two full queues" in plan.hidden[counter]


def test_only_known_facts_and_hooks_are_named() -> None:
    for row in FUNCTION_PROBES:
        assert row.unless <= {want.macro for want in KERNEL_FACTS}
        hook, event = row.replaces or ("packet_drop", "drop")
        assert hook in {hook.program for hook in HOOKS if not hook.needed}
        assert event in EVENTS
        assert (source_dir() / "probes" / f"{row.program}.c").is_file()
        assert row.gives
        assert row.lost


def test_the_survey_says_what_the_kernel_said(btf: Btf) -> None:
    words = "Operation not permitted"
    rows = {row.slug: row for row in survey(btf, Answers(dict.fromkeys(FAMILIES, words)))}
    for family in FAMILIES:
        assert (rows[family.value].present, rows[family.value].refusal) == (False, words)
    assert not any(rows[name].present for name in NAMES & set(rows))
    assert NAMES & set(rows)


def test_the_survey_says_how_each_is_attached(btf: Btf) -> None:
    said = {AttachType.FENTRY: "Operation not permitted", AttachType.KPROBE: ""}
    rows = {row.slug: row for row in survey(btf, Answers(said))}
    for row in FUNCTION_PROBES:
        if row.program in rows and row.program in there(btf):
            kind = "kretprobe" if row.result else "kprobe"
            assert rows[row.program].hook == f"{kind}:{row.function}"
            assert rows[row.program].present


def test_one_that_the_kernel_refuses_is_planned_away(
    btf: Btf, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = ["timewait_refused", "reset_flags"]

    def load(plan: Plan, *_: object) -> Any:
        for name in bad:
            if name in seated(plan):
                raise ProbeRefused(name, "R0 invalid mem access")
        return plan

    monkeypatch.setattr(loader, "load", load)
    plan: Any = load_best(lambda refused: plan_of(btf, TRAMPOLINES, OLD | refused))
    assert seated(plan) == there(btf) - set(bad)
    assert plan.refused == dict.fromkeys(bad, "R0 invalid mem access")
