# SPDX-License-Identifier: Apache-2.0
"""The same connections with and without function probes: the same reports, or better ones.

All tracers are attached at once and see the same connections, each played once. What "better" may
be is in ``no_worse``; what must be better is in ``BETTER``.
"""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.kernel.kit.function_gains import BETTER, PLAYS, UNTIMED, Gain, Place
from tests.kernel.kit.reader import SMALL
from tracetw.event.record import End
from tracetw.host.clock import Clock
from tracetw.kernel import unit
from tracetw.kernel.attach_point import FAMILIES, AttachType
from tracetw.kernel.btf import Btf
from tracetw.kernel.capability import Answers
from tracetw.kernel.function_probe import FUNCTION_PROBES, candidates
from tracetw.kernel.load import probe
from tracetw.kernel.load.loader import load, load_best
from tracetw.kernel.load.probe import ask
from tracetw.kernel.load.session import Session
from tracetw.kernel.plan import Plan, make_plan
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import NotPlayed, require
from tracetw.lab.scenarios.moves import close_in_turn
from tracetw.lab.scenarios.reuse import dial, leave_time_wait
from tracetw.live.source import Source
from tracetw.sink.json import JsonSink
from tracetw.stream.batch import Context, Ends, Events
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages

pytestmark = pytest.mark.timeout(1800)

Line: TypeAlias = dict[str, Any]
Told: TypeAlias = dict[Place, tuple[list[Line], list[str]]]
"""By place: what is said of the closes, and the names of the events."""

EVENTS = frozenset({"timewait", "drop"})
# What the kernels of the older rows have no tracepoint for: so every probe has something to do.
OLD = frozenset({"packet_drop", "drop-socket", "reset-reason"})
HOW = ("here", "as on older kernels")
SAID = (
    "verdict",
    "form",
    "first_close",
    "closed_by",
    "time_wait",
    "error",
    "reset",
    "owner_from",
    "pid",
    "confidence",
    "evidence",
    "ttl",
    "icmp_from",
)


# Of which no report of one play shows more.
ELSEWHERE = {
    "timewait_reused": "test_reuse_of_what_was_there_before",
    "listener_syn": "without it listener_dropped and syn_cookie tell nothing",
    "request_made": "tests/kernel/test_listener_queues.py",
    "syn_cookie_v6": "syn-cookie with IPv6, tests/kernel/test_lab.py",
    "sockmap_close": "tests/kernel/test_layers.py",
}
WEAK = {"verdict": "undetermined", "confidence": "inferred"}
# Verdicts that the flags of the RST, or the SYN before it, correct.
CORRECTED = {("peer-reset", "peer-lost-state"), ("peer-lost-state", "stale-syn-reset")}


def play(net: Net, name: str) -> None:
    """A scenario of the lab; without its expectations, which are those of its own test."""
    scenario = BY_NAME[name.removesuffix(UNTIMED)]
    for letter, host in net.hosts.items():
        host.sysctl(**scenario.sysctls.get(letter, {}))
        if name.endswith(UNTIMED):
            host.sysctl(tcp_timestamps=0)
    scenario.play(net)


def told(session: Session, homes: Mapping[int, Place]) -> Told:
    """Everything that a tracer has to report, as it would."""
    out = io.BytesIO()
    context = Context("test", 0, session.plan.names, lambda _: None)
    stages = Stages(context, Filter(), JsonSink(out, context))
    clock = Clock.now()
    source = Source(session)
    while session.closes.pending():
        stages.feed(Ends(source.take(), clock))
        source.release()
    stages.feed(Ends(source.overdue(everything=True), clock))
    waiting = session.timewaits()
    waiting["end"] = End.STALE
    stages.feed(Ends(waiting, clock))
    assert session.events is not None
    while session.events.pending():
        stages.feed(Events(session.events.peek(), clock))
        session.events.release()
    found: Told = {place: ([], []) for place in homes.values()}
    for text in out.getvalue().splitlines():
        line = json.loads(text)
        if line["netns"] not in homes:
            continue
        closes, events = found[homes[line["netns"]]]
        if line["kind"] == "close":
            said = {name: line[name] for name in SAID}
            closes.append(said | {"states": [step["state"] for step in line["states"]]})
        else:
            events.append(line["event"])
    for closes, events in found.values():
        closes.sort(key=lambda line: json.dumps(line["states"]))
        events.sort()
    return found


def only(types: frozenset[AttachType]) -> Answers:
    """As if the kernel took these attach types alone."""
    refused = {family: "" if FAMILIES[family] <= types else "refused" for family in FAMILIES}
    return replace(ask(Btf.read()), refused=refused)


def variants() -> dict[str, frozenset[AttachType]]:
    """Kinds of attachment that work here, by name of the best one of them."""
    refused = ask(Btf.read()).refused
    return {family.value: FAMILIES[family] for family, error in refused.items() if not error}


def test_where_nothing_can_be_attached_the_kernel_says_so() -> None:
    """What BTF lists is not enough: the kernel is asked, and what it says is its own words."""
    said = ask(Btf.read()).refused
    assert set(said) == set(FAMILIES)
    if all(said.values()):
        refused = ("Operation not permitted", "No such file or directory")
        assert set(said.values()) <= {*refused, "Operation not supported", "Unknown error 524"}
        pytest.skip(f"no function probes here: {said}")


@pytest.fixture(scope="module")
def kinds() -> dict[str, frozenset[AttachType]]:
    found = variants()
    if not found:
        pytest.skip("neither fentry nor kprobes here")
    return found


def test_a_function_without_its_symbol_is_not_probed(
    kinds: dict[str, frozenset[AttachType]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """BTF has it, the kernel only what the compiler made of it: Ubuntu 22.04 has tcp_send_challenge_ack.constprop.0."""
    btf = Btf.read()
    before = ask(btf)
    (row, _, parameters), *others = candidates(btf)
    gone = (replace(row, function="tcp_reset.constprop.9"), 1, parameters)
    monkeypatch.setattr(probe, "candidates", lambda _: [gone, *others])
    said = ask(btf)
    assert said.absent == before.absent | {row.program}
    assert said.refused == before.refused
    assert kinds


def planner() -> partial[Plan]:
    """What gives a plan of a session here; what it was compiled to is in the cache."""
    hz = round(1 / time.clock_getres(6))
    return partial(make_plan, Btf.read(), hz, events=EVENTS, sizes=SMALL)


@pytest.fixture(scope="module")
def sessions(kinds: dict[str, frozenset[AttachType]]) -> Iterator[dict[str, Session]]:
    make = planner()
    older = make(without=OLD).macros != make().macros
    with ExitStack() as stack:
        found: dict[str, Session] = {}
        for name, usable in {"floor": frozenset[AttachType](), **kinds}.items():
            here = stack.enter_context(load(make(answers=only(usable))))
            found[f"{name} {HOW[0]}"] = found[f"{name} {HOW[1]}"] = here
            if older:
                plan = make(answers=only(usable), without=OLD)
                found[f"{name} {HOW[1]}"] = stack.enter_context(load(plan))
        yield found


def played(stack: ExitStack, name: str) -> Net:
    """A play in hosts of its own; once more in others where the machine was too slow for it."""
    for last in (False, False, True):
        net = stack.enter_context(Net())
        try:
            play(net, name)
        except NotPlayed:
            if last:
                raise
        else:
            break
    return net


@pytest.fixture(scope="module")
def reports(sessions: dict[str, Session]) -> dict[str, Told]:
    homes: dict[int, Place] = {}
    with ExitStack() as stack:
        for name in PLAYS:
            hosts = played(stack, name).hosts
            homes |= {host.netns: (name, letter) for letter, host in hosts.items()}
        # Where a kernel is old itself one session stands for both, and tells what it has once.
        different = {id(session): session for session in sessions.values()}
        once = {number: told(session, homes) for number, session in different.items()}
        return {name: once[id(session)] for name, session in sessions.items()}


RICH = tuple(kind.value for kind in FAMILIES)


def rich_of(reports: Mapping[str, Told], kind: str, how: str) -> Told:
    if f"{kind} {how}" not in reports:
        pytest.skip(f"no {kind} here")
    return reports[f"{kind} {how}"]


def no_worse(floor: Line, rich: Line) -> list[str]:
    """Fields that are neither the same nor what is better."""
    if floor["verdict"] != rich["verdict"]:
        pair = (floor["verdict"], rich["verdict"])
        return [] if pair[0] == "undetermined" or pair in CORRECTED else ["verdict"]
    wrong = []
    for name in floor:
        before, after = floor[name], rich[name]
        if name == "reset" and before and after:
            before = {key: value for key, value in before.items() if value is not None}
            after = {key: after[key] for key in before}
        better = before is None or (name == "confidence" and before == WEAK[name])
        if name != "evidence" and before != after and not better:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", RICH)
@pytest.mark.parametrize("name", PLAYS)
def test_same_or_better(reports: dict[str, Told], kind: str, how: str, name: str) -> None:
    rich, floor = rich_of(reports, kind, how), reports[f"floor {how}"]
    for letter in "ab":
        closes, events = rich[name, letter]
        scenario = BY_NAME[name.removesuffix(UNTIMED)]
        silent = getattr(scenario, letter) is None
        assert closes or silent, "nothing was reported: nothing is shown"
        before, events_before = floor[name, letter]
        assert [no_worse(*pair) for pair in zip(before, closes, strict=True)] == [
            [] for _ in closes
        ], (before, closes)
        common = [event for event in events if event in events_before]
        assert common == events_before


@pytest.mark.parametrize("kind", RICH)
@pytest.mark.parametrize("gain", BETTER, ids=lambda gain: f"{gain.program}-{gain.place[0]}")
def test_gain(
    sessions: dict[str, Session], reports: dict[str, Told], kind: str, gain: Gain
) -> None:
    rich = rich_of(reports, kind, HOW[1])
    probes = sessions[f"{kind} {HOW[1]}"].plan.probes
    if gain.program not in {placed.probe.program for placed in probes}:
        pytest.skip(f"this kernel has nothing for {gain.program}")
    floor = reports[f"floor {HOW[1]}"]
    if gain.field == "event":
        assert gain.rich in rich[gain.place][1]
        return
    after = [line[gain.field] for line in rich[gain.place][0]]
    before = [line[gain.field] for line in floor[gain.place][0]]
    if gain.field == "evidence":
        assert any(gain.rich in evidence for evidence in after)
        return
    assert gain.rich in after
    assert set(before) <= {*after, gain.floor}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", RICH)
def test_the_two_ways_to_attach_tell_the_same(
    reports: dict[str, Told], kind: str, how: str
) -> None:
    one = rich_of(reports, kind, how)
    other = rich_of(reports, RICH[1 - RICH.index(kind)], how)
    assert one == other


@pytest.mark.parametrize("name", ["floor", *RICH])
def test_reuse_of_what_was_there_before(sessions: dict[str, Session], name: str) -> None:
    """A TIME_WAIT that no tracer saw begin; with the plan of a session, so that nothing is compiled."""
    if f"{name} {HOW[0]}" not in sessions:
        pytest.skip(f"no {name} here")
    with Net() as net:
        link = leave_time_wait(net)
        with load(sessions[f"{name} {HOW[0]}"].plan) as session:
            require(
                net.a.states() == ["TIME_WAIT"], "the TIME_WAIT was over before the tracer began"
            )
            again = dial(net, link.listener, bound=True)
            close_in_turn(net, net.a, again.a, again.b)
            homes = {host.netns: (name, letter) for letter, host in net.hosts.items()}
            events = told(session, homes)[name, "a"][1]
    assert ("reused-by-connect" in events) == (name != "floor")


def test_one_that_the_verifier_refuses_is_left_out(
    kinds: dict[str, frozenset[AttachType]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its program cannot be loaded: the rest is, and says so."""
    folder = tmp_path / "bpf"
    shutil.copytree(unit.source_dir(), folder)
    bad = "int timewait_refused(struct bpf_raw_tracepoint_args *ctx) { return *(int *)0x40; }\n"
    (folder / "probes" / "timewait_refused.c").write_text(bad)
    monkeypatch.setattr(unit, "source_dir", lambda: folder)
    make = partial(planner(), answers=only(next(iter(kinds.values()))))
    others = {row.program for row in FUNCTION_PROBES} - {"timewait_refused"}
    # Without it and the others it is the floor, which was compiled before.
    with load_best(lambda refused: make(without=refused | others)) as session:
        assert set(session.plan.refused) == {"timewait_refused"}
        assert "timewait_refused" not in session.programs()
        assert "state_change" in session.programs()


def test_every_function_probe_has_a_gain() -> None:
    shown = {gain.program for gain in BETTER} | ELSEWHERE.keys()
    assert shown == {row.program for row in FUNCTION_PROBES}
