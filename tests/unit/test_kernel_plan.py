# SPDX-License-Identifier: Apache-2.0
"""From a kernel's BTF to the text that is compiled: offsets, hooks, files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tracetw.errors import CannotTrace
from tracetw.kernel import layout
from tracetw.kernel.btf import VMLINUX, Btf
from tracetw.kernel.capability import HOOKS, KERNEL_FACTS, Answers, KernelFact, survey
from tracetw.kernel.filter import KernelFilter, KernelNet
from tracetw.kernel.plan import EVENTS, HEADERS, WAYS, Plan, Sizes, make_plan
from tracetw.kernel.unit import join, source_dir

pytestmark = pytest.mark.skipif(
    not os.access(VMLINUX, os.R_OK), reason="needs the running kernel's BTF"
)

STACK_LIMIT = 512  # MAX_BPF_STACK, include/linux/filter.h
WIDTH = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
ASSIGNED = re.compile(r"^\t+([fr]->\w+) = \*\((u\d+) \*\)\((?:\(u8 \*\)w|t) \+ (\d+)\);$")
NEEDED = [hook.program for hook in HOOKS if hook.needed]
OPTIONAL = [hook.program for hook in HOOKS if not hook.needed]


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf.read()


@pytest.fixture(scope="module")
def plan(btf: Btf) -> Plan:
    return make_plan(btf, 250)


def windows(text: str) -> list[tuple[int, int, int, list[tuple[str, str, int]]]]:
    """(start in the socket, bytes read, bytes of stack, [(target, type, place in the socket)])."""
    found = []
    for block in text.split("\tu64 w[")[1:]:
        words = int(block.split("]")[0])
        read = re.search(r"bpf_probe_read_kernel\(w, (\d+), sk \+ (\d+)\)", block)
        assert read
        start = int(read[2])
        rows = [
            (match[1], match[2], start + int(match[3]))
            for match in map(ASSIGNED.match, block.splitlines())
            if match
        ]
        found.append((start, int(read[1]), words * 8, rows))
    return found


def wanted(btf: Btf) -> dict[str, tuple[str, int]]:
    """Every fact that this kernel has: type and place in the socket, asked one by one."""
    return {
        fact.to: (fact.type, btf.field(fact.path).offset + fact.part)
        for fact in layout.FACTS
        if fact.path not in layout.OPTIONAL or btf.has_field(fact.path)
    }


def test_windows_hold_every_fact_at_its_place(btf: Btf) -> None:
    text = layout.load_facts(btf, direct=False)
    placed = {to: (kind, at) for *_, rows in windows(text) for to, kind, at in rows}
    assert placed == wanted(btf)


def test_direct_loads_hold_every_fact_at_its_place(btf: Btf) -> None:
    lines = map(ASSIGNED.match, layout.load_facts(btf, direct=True).splitlines())
    assert {match[1]: (match[2], int(match[3])) for match in lines if match} == wanted(btf)


def test_no_fact_lies_outside_of_its_window(btf: Btf) -> None:
    for start, size, stack, rows in windows(layout.load_facts(btf, direct=False)):
        assert start % 8 == 0
        assert size <= stack < size + 8
        for to, kind, at in rows:
            assert start <= at, to
            assert at + WIDTH[kind] <= start + size, to


def test_windows_leave_room_on_the_stack(btf: Btf) -> None:
    """The compiler may give each window room of its own: all of them and the facts must fit."""
    found = windows(layout.load_facts(btf, direct=False))
    assert found
    assert max(stack for *_, stack, _ in found) <= layout._WINDOW
    facts = 8 * sum(fact.to.startswith("f->") for fact in layout.FACTS)
    assert max(stack for *_, stack, _ in found) + facts < STACK_LIMIT


@pytest.mark.parametrize("offset", [0, 4, 7, 150, 152, 153, 159, 160, 161, 280, 281, 1000])
def test_no_window_is_longer_than_allowed(offset: int) -> None:
    placed = [
        (base + offset, layout.Fact(f"f->a{base}", "sock.sk_err", kind))
        for base, kind in ((0, "u8"), (1, "u8"), (100, "u64"), (155, "u64"), (290, "u32"))
    ]
    found = layout._windows(placed)
    assert sorted(one for window in found for one in window) == sorted(placed)
    for window in found:
        stack = re.search(r"w\[(\d+)\]", "\n".join(layout._read(window)))
        assert stack
        assert int(stack[1]) * 8 <= layout._WINDOW


def test_an_optional_fact_that_is_missing_is_zero(
    btf: Btf, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = layout.Fact("f->probes_tstamp", "inet_connection_sock.no_such_field", "u32")
    monkeypatch.setattr(layout, "FACTS", (layout.FACTS[0], lacking))
    monkeypatch.setattr(layout, "OPTIONAL", {lacking.path})
    for direct in (True, False):
        assert "f->probes_tstamp = 0;" in layout.load_facts(btf, direct=direct)


def test_a_fact_that_is_missing_cannot_be_traced(btf: Btf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layout.OFFSETS, "OFF_SK_ERR", "sock.no_such_name")
    with pytest.raises(CannotTrace, match=r"sock\.no_such_name"):
        make_plan(btf, 250)


def test_offsets_are_the_kernels(btf: Btf, plan: Plan) -> None:
    for macro, path in layout.OFFSETS.items():
        assert plan.macros[macro] == str(btf.field(path).offset), macro


def test_states_and_flags_are_the_kernels(btf: Btf, plan: Plan) -> None:
    assert plan.macros["TCP_TIME_WAIT"] == "6"
    assert plan.macros["BIT_SOCK_DONE"] == str(btf.enum("sock_flags")["SOCK_DONE"])
    assert plan.names.tcp_states[1] == "ESTABLISHED"
    assert "MAX_STATES" not in plan.names.tcp_states.values()
    assert plan.names.hz == 250


def test_every_hook_that_the_kernel_has_is_used(btf: Btf, plan: Plan) -> None:
    there = {hook.program for hook in HOOKS if (btf.tracepoint_args(hook.event) or 0) >= hook.args}
    used = {hook.program for hook in plan.hooks}
    assert used == there - ({"packet_drop_skb"} if "packet_drop" in there else set())
    assert not {hook.program for hook in plan.absent} & used


@pytest.mark.parametrize("left_out", [None, *OPTIONAL])
def test_records_are_opened_last(btf: Btf, left_out: str | None) -> None:
    without = frozenset({left_out} if left_out else ())
    assert make_plan(btf, 250, without=without).hooks[-1].program == "state_change"


@pytest.mark.parametrize("program", NEEDED)
def test_a_needed_hook_that_is_missing_is_told(btf: Btf, program: str) -> None:
    event = next(hook for hook in HOOKS if hook.program == program)
    with pytest.raises(CannotTrace, match=f"{event.system}:{event.event}"):
        make_plan(btf, 250, without=frozenset({program}))


@pytest.mark.parametrize("program", [name for name in OPTIONAL if "packet_drop" not in name])
def test_a_hook_left_out_is_absent(btf: Btf, program: str) -> None:
    plan = make_plan(btf, 250, without=frozenset({program}))
    assert program not in {hook.program for hook in plan.hooks}
    assert program in {hook.program for hook in plan.absent}
    assert f"int {program}(" not in join(plan)


@pytest.mark.parametrize("fact", KERNEL_FACTS, ids=lambda fact: fact.slug)
def test_a_fact_left_out_is_not_compiled_in(btf: Btf, fact: KernelFact) -> None:
    assert fact.macro not in make_plan(btf, 250, without=frozenset({fact.slug})).macros
    answers = Answers(cmpxchg=True)
    have = make_plan(btf, 250, answers=answers).macros
    assert (fact.macro in have) == fact.present(btf, answers)


def test_without_direct_loads_there_is_no_cast(btf: Btf) -> None:
    plan = make_plan(btf, 250, without=frozenset({"direct-loads"}))
    assert plan.cast_function == 0
    assert "CAST_CALL" not in plan.macros
    assert "bpf_probe_read_kernel" in plan.generated


def test_the_second_best_hook_stands_in(btf: Btf) -> None:
    plan = make_plan(btf, 250, without=frozenset({"packet_drop", "drop-socket"}))
    assert "packet_drop_skb" in {hook.program for hook in plan.hooks}
    assert "packet_drop" not in {hook.program for hook in plan.absent}


def test_without_both_one_is_told_as_absent(btf: Btf) -> None:
    plan = make_plan(btf, 250, without=frozenset({"packet_drop", "packet_drop_skb"}))
    assert [hook.program for hook in plan.absent] == ["packet_drop"]


def test_what_a_kernel_does_not_show_cannot_add_up(btf: Btf) -> None:
    hidden = make_plan(btf, 250, without=frozenset({"reset-reason"})).hidden
    assert hidden["OutRsts"] == "resets without a full socket"


def test_the_survey_lists_each_hook_and_fact_once(btf: Btf) -> None:
    rows = survey(btf, Answers())
    slugs = [row.slug for row in rows]
    assert len(slugs) == len(set(slugs))
    assert set(NEEDED) < set(slugs)
    assert {fact.slug for fact in KERNEL_FACTS} < set(slugs)
    assert all(row.gives and row.lost_without for row in rows)


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_single_events_are_compiled_in_only_when_wanted(btf: Btf, plan: Plan, event: str) -> None:
    assert not set(plan.macros) & {*EVENTS.values(), "WANT_EVENTS"}
    asked = make_plan(btf, 250, events=frozenset({event}))
    assert set(asked.macros) & {*EVENTS.values()} == {EVENTS[event]}
    assert asked.macros["WANT_EVENTS"] == "1"


@pytest.mark.parametrize("live", [1 << 10, 65_537, 1_000_000, 1 << 24])
def test_sizes_hold_whole_sets_and_whole_pages(live: int) -> None:
    sizes = Sizes.for_connections(live)
    assert live <= sizes.connections < live + WAYS
    assert sizes.closed_slots >= 2 * (live // 8)
    assert sizes.timewait_slots >= 1.5 * (live // 4)
    for name in ("conn_slots", "closed_slots", "timewait_slots"):
        assert getattr(sizes, name) % WAYS == 0, name
    for name in ("closes_pages", "events_pages"):
        value = getattr(sizes, name)
        assert value & (value - 1) == 0, name


def test_default_sizes_are_those_for_131072_connections() -> None:
    assert Sizes.for_connections(1 << 17) == Sizes()


def parts(text: str) -> dict[str, str]:
    """File name of each ``#line`` and the text behind it, up to the macros of the next hook."""
    pieces = re.split(r'^#line 1 "([^"]+)"\n', text, flags=re.MULTILINE)
    texts = (piece.split("\n#undef PROGRAM\n")[0] for piece in pieces[2::2])
    return dict(zip(pieces[1::2], texts, strict=True))


def test_every_file_follows_a_line_that_names_it(plan: Plan) -> None:
    found = parts(join(plan))
    files = [f"bpf/{name}" for name in HEADERS]
    files.insert(files.index("bpf/sock.h"), "generated/facts.h")
    hooks = [f"bpf/probes/{hook.program}.c" for hook in plan.hooks]
    assert [*found] == [*files, hooks[0], "bpf/hook.c", *hooks[1:]]
    assert join(plan).count('#line 1 "bpf/hook.c"') == len(hooks)
    for name, text in found.items():
        if name.startswith("bpf/"):
            file = source_dir() / name.removeprefix("bpf/")
            assert text.rstrip("\n") == file.read_text().rstrip("\n"), name


def test_every_macro_stands_before_the_first_file(plan: Plan) -> None:
    head = join(plan).split("#line", 1)[0].splitlines()
    assert head == [f"#define {name} {value}" for name, value in plan.macros.items()] + [""] * (
        len(head) - len(plan.macros)
    )


def test_all_filters_are_one_unit(btf: Btf) -> None:
    """Their values are in a map: only whether there is a filter is compiled in."""
    units = {
        name: join(make_plan(btf, 250, wanted=wanted))
        for name, wanted in {
            "none": None,
            "empty": KernelFilter(unless=KernelFilter()),
            "port": KernelFilter(ports=((1, 1),)),
            "other": KernelFilter(ports=((2, 3), (9, 9)), netns=(7,)),
            "negated": KernelFilter(unless=KernelFilter(nets4=(KernelNet((1,), (255,)),))),
            "family": KernelFilter(family=6),
        }.items()
    }
    assert units["none"] == units["empty"]
    assert len({units[name] for name in ("port", "other", "negated", "family")}) == 1
    assert units["none"] != units["port"]


def test_a_file_that_is_missing_is_an_os_error(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        join(plan, tmp_path)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.program)
def test_no_program_touches_more_arguments_than_its_row_says(hook: object) -> None:
    """One argument more than the kernel has, and it refuses to attach.

    Arguments behind an ``#ifdef`` are asked for by their own capability.
    """
    row = next(one for one in HOOKS if one is hook)
    text = (source_dir() / "probes" / f"{row.program}.c").read_text()
    always = re.sub(r"#ifdef HAVE_.*?#endif", "", text, flags=re.DOTALL)
    touched = {int(number) for number in re.findall(r"ctx->args\[(\d+)\]", always)}
    assert touched
    assert max(touched) + 1 <= row.args
