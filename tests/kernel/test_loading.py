# SPDX-License-Identifier: Apache-2.0
"""Loading: what the verifier has to walk, what the kernel holds, what is left behind."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from scripts.benchmark.namespace import storm_host
from scripts.benchmark.storm import Storm
from tests.kernel.kit.bpf_ids import alive, held_by
from tests.kernel.kit.reader import SMALL
from tests.kernel.kit.untold import AMONG_THE_LAST, watch
from tests.kernel.kit.verifier import walked
from tracetw.errors import CannotTrace
from tracetw.event.record import End, Stat
from tracetw.kernel import unit
from tracetw.kernel.btf import Btf
from tracetw.kernel.capability import KERNEL_FACTS, Answers
from tracetw.kernel.load import bpf, loader
from tracetw.kernel.load.cache import Cache
from tracetw.kernel.load.image import Image
from tracetw.kernel.load.loader import load
from tracetw.kernel.load.probe import ask, has_cmpxchg
from tracetw.kernel.load.session import Session
from tracetw.kernel.plan import EVENTS, Plan, make_plan
from tracetw.lab.net.host import Host
from tracetw.lab.polling import eventually, patient
from tracetw.live.source import Source
from tracetw.stream.filter import Filter

# The verifier stops at a million (BPF_COMPLEXITY_LIMIT_INSNS).
MOST_VERIFIED = 720_000
# In sum, without a filter, where fields are loaded directly: a start waits for it, 1.2 us an instruction. That is
# 149,000 on 6.18, of which the two programs of state_change have 129,000.
MOST_AT_START = 200_000
# Of 512 (MAX_BPF_STACK). The layout of 5.10, where fields are copied by helpers too, needs a bit more than that
# of a newer kernel without its direct loads.
MOST_STACK = 496
BURST = 20_000 // round(patient(1))
# As much of everything as a long command line has.
LARGEST = Filter.parse(
    port=["22,80,443,1000-2000,8000-8100,9000"],
    local_port=["80,443,8080", "1-65535"],
    remote_port=["1024-65535", "53", "!6379"],
    six=True,
    addr=[
        "10.0.0.0/8,192.168.0.0/16,172.16.0.0/12,127.0.0.1,203.0.113.128/25",
        "2001:db8::/32,fe80::/10,::1,2001:db8:1:2:3:4:5:6,fd00::/8",
        "!10.1.0.0/16,192.168.7.0/24,2001:db8:7::/48",
    ],
)
NAMESPACES = frozenset({4026531840, 4026532000, 4026532001})
# No filter gives the verifier more to walk: as many of the costliest values as the kernel takes.
MANY = ",".join(f"{low}-{low + 9}" for low in range(100, 3300, 100))
COSTLIEST = Filter.parse(
    addr=[f"{sign}2001:db8:{number:x}::/48" for number in range(0, 64, 2) for sign in ("", "!")],
    local_port=[MANY],
    port=[MANY],
)
# r0 = r2; r0 = cmpxchg((u64 *)(r1 + 0), r0, r3): no compiler chooses these registers each time.
INSERTED = re.compile(re.escape(bytes.fromhex("bf20000000000000db310000f1000000")))
SEEN_SOMETIMES = re.compile("libLLVM|libbcc|libclang")


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf.read()


@pytest.fixture(scope="module")
def hz() -> int:
    return round(1 / time.clock_getres(6))


@pytest.fixture
def small(btf: Btf, hz: int) -> Plan:
    return make_plan(btf, hz, sizes=SMALL, answers=ask(btf))


@pytest.mark.parametrize(
    "wanted", [Filter(), replace(LARGEST, netns=NAMESPACES), COSTLIEST], ids=["all", "few", "most"]
)
@pytest.mark.parametrize("events", [(), (*EVENTS,)], ids=["closes", "events"])
@pytest.mark.parametrize(
    "without", [(), tuple(fact.slug for fact in KERNEL_FACTS)], ids=["this-kernel", "floor"]
)
def test_the_verifier_has_room(
    *,
    btf: Btf,
    hz: int,
    wanted: Filter,
    events: tuple[str, ...],
    without: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_out = frozenset(without) | ({"packet_drop"} if without else frozenset())
    plan = make_plan(
        btf,
        hz,
        wanted=wanted.kernel(),
        events=frozenset(events),
        without=left_out,
        answers=Answers(cmpxchg=has_cmpxchg()),
    )
    verified = walked(monkeypatch)
    with load(plan):
        print(verified)
    assert set(verified) == {point.program[:15] for point in plan.attach_points}
    assert max(one.instructions for one in verified.values()) <= MOST_VERIFIED, verified
    direct = btf.function("bpf_rdonly_cast") is not None
    if direct and wanted == Filter() and not events and not without:
        assert sum(one.instructions for one in verified.values()) <= MOST_AT_START, verified
    if without and direct:
        assert max(one.stack for one in verified.values()) <= MOST_STACK, verified


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_each_kind_of_event_loads_alone(btf: Btf, hz: int, event: str) -> None:
    with load(make_plan(btf, hz, sizes=SMALL, events=frozenset({event}))) as session:
        assert session.events is not None


def test_a_compile_error_names_the_file(
    small: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bpf"
    (folder / "probes").mkdir(parents=True)
    for file in unit.source_dir().rglob("*.[ch]"):
        (folder / file.relative_to(unit.source_dir())).write_text(file.read_text())
    broken = folder / "probes" / "destroy.c"
    lines = broken.read_text().splitlines()
    broken.write_text("\n".join([*lines, "int no_such_thing(void) { return absent; }"]))
    monkeypatch.setattr(unit, "source_dir", lambda: folder)
    with pytest.raises(CannotTrace, match=rf"bpf/probes/destroy\.c:{len(lines) + 1}:.*absent"):
        load(small)


def test_a_program_that_the_verifier_refuses_is_named(
    small: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bpf"
    (folder / "probes").mkdir(parents=True)
    for file in unit.source_dir().rglob("*.[ch]"):
        (folder / file.relative_to(unit.source_dir())).write_text(file.read_text())
    bad = (
        "static int on_reset_received(struct bpf_raw_tracepoint_args *ctx)\n"
        "{ return *(int *)ctx->args[9]; }\n"
    )
    (folder / "probes" / "reset_received.c").write_text(bad)
    monkeypatch.setattr(unit, "source_dir", lambda: folder)
    before = alive()
    with pytest.raises(CannotTrace, match="reset_received"):
        load(small)
    eventually(lambda: not alive() - before)


@pytest.mark.parametrize("atomics", [True, False], ids=["same", "without-atomics"])
def test_two_sessions_see_the_same(
    *, small: Plan, storm: Storm, btf: Btf, hz: int, atomics: bool
) -> None:
    """Also if one has no atomics, as before 5.12."""
    with storm_host() as namespace, load(small) as one:
        other = small if atomics else make_plan(btf, hz, sizes=SMALL)
        with load(other) as two:
            storm.run(namespace, 500)
            first, second = ended(one, namespace), ended(two, namespace)
    assert first == second, (first - second, second - first)
    assert sum(first.values()) == 1000


def test_a_compiler_without_the_instruction_gets_it(
    small: Plan, storm: Storm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As LLVM 11 has none. What is put in is seen in the byte code, and does what the compiler's own does."""
    old = ["-U__clang_major__", "-D__clang_major__=11"]
    monkeypatch.setattr(loader, "_FLAGS", [*loader._FLAGS, *old])
    cache = Cache(tmp_path / "images")
    with storm_host() as namespace, load(small) as one, load(small, cache) as two:
        (file,) = tmp_path.glob("images/*.json")
        code = Image.parse(file.read_bytes()).programs["state_change"]
        assert bool(INSERTED.search(code)) == has_cmpxchg()
        storm.run(namespace, 500)
        assert ended(one, namespace) == ended(two, namespace)


def test_atomics_are_found_where_they_are(btf: Btf) -> None:
    """They came in the same release as the helper check_mtu, 5.12, which BTF names."""
    assert has_cmpxchg() == ("BPF_FUNC_check_mtu" in btf.enum("bpf_func_id"))


def test_the_second_start_compiles_nothing(
    small: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(small, Cache(tmp_path / "images")).close()
    assert len(list(tmp_path.glob("images/*.json"))) == 1
    monkeypatch.setattr(loader, "_compile", None)
    load(small, Cache(tmp_path / "images")).close()


def test_one_image_serves_all_filters(
    btf: Btf, hz: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters of every kind, and their events: what is compiled is whether there is one."""
    cache = Cache(tmp_path / "images")

    def start(**options: Any) -> None:
        wanted = Filter.parse(**options).kernel()
        load(make_plan(btf, hz, sizes=SMALL, wanted=wanted, answers=ask(btf)), cache).close()

    start(port=["443"])
    monkeypatch.setattr(loader, "_compile", None)
    for options in (
        {"port": ["80"]},
        {"local_port": ["80-90,443"], "remote_port": ["!5432"]},
        {"addr": ["10.0.0.0/8,2001:db8::/32", "!fe80::/10"], "six": True},
        {"netns": [str(Path("/proc/self/ns/net").stat().st_ino)]},
    ):
        start(**options)
    with pytest.raises(TypeError):
        start()
    assert len(list(tmp_path.glob("images/*.json"))) == 1


def test_the_values_of_a_filter_are_frozen(btf: Btf, hz: int) -> None:
    """Nobody can change them any more: the verifier has taken them for constants."""
    wanted = Filter.parse(port=["443"]).kernel()
    with load(make_plan(btf, hz, sizes=SMALL, wanted=wanted)) as session:
        filter_map = session._fds["map:filter"]
        with pytest.raises(PermissionError):
            bpf.fill_and_freeze(filter_map, bytes(len(wanted.packed())))


def test_nothing_is_left_behind(small: Plan) -> None:
    me = os.getpid()
    before, mine = alive(), held_by(me)
    session = load(small)
    held = held_by(me) - mine
    # A raw tracepoint's link shows its program's number too.
    assert {kind for kind, _ in held} >= {"prog_id", "map_id"}
    assert held <= alive() - before
    session.close()
    assert not {kind for kind, _ in held_by(me) - mine} & {"prog_id", "link_id"}
    # What is mapped goes with the object: Python keeps a descriptor for each mapping.
    del session
    assert held_by(me) == mine
    # Maps are freed after a grace period of RCU.
    eventually(lambda: not held & alive())


def test_detached_hooks_see_nothing_more(small: Plan, storm: Storm) -> None:
    with storm_host() as namespace, load(small) as session:
        storm.run(namespace, 10)
        session.detach()
        storm.run(namespace, 10)
        assert sum(ended(session, namespace).values()) == 20


def test_the_compiler_is_gone(small: Plan, tmp_path: Path) -> None:
    before, mine = children(), held_by(os.getpid())
    with load(small, Cache(tmp_path)):
        assert [*tmp_path.iterdir()], "nothing was compiled"
        assert children() == before
        assert not SEEN_SOMETIMES.search(Path("/proc/self/maps").read_text())
        assert held_by(os.getpid()) != mine


def children() -> set[int]:
    """Processes that this one started and that are still there."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def ended(session: Session, namespace: Host) -> Counter[tuple[int, int]]:
    """(local port, remote port) of every end reported, and how often."""
    source, found = Source(session), Counter[tuple[int, int]]()
    rows = source.take()
    while len(rows) or session.closes.pending():
        mine = rows[rows["netns"] == namespace.netns]
        found.update(zip(mine["lport"].tolist(), mine["rport"].tolist(), strict=True))
        source.release()
        rows = source.take()
    rest = source.overdue(everything=True)
    rest = rest[rest["netns"] == namespace.netns]
    found.update(zip(rest["lport"].tolist(), rest["rport"].tolist(), strict=True))
    return found


@pytest.mark.parametrize("mode", ["rst", "timewait"])
def test_every_connection_of_a_burst_once(
    btf: Btf, hz: int, storm: Storm, namespace: Host, mode: str
) -> None:
    """Read meanwhile: the ring holds less."""
    with (
        watch() as watching,
        load(make_plan(btf, hz, answers=Answers(cmpxchg=has_cmpxchg()))) as session,
    ):
        source = Source(session)
        lives = Counter[tuple[int, int]]()

        def count(rows: NDArray[Any]) -> None:
            mine = rows[rows["netns"] == namespace.netns]
            assert End.FULL not in mine["end"]
            lives.update(zip(mine["sk"].tolist(), mine["at"][:, 0].tolist(), strict=True))

        load_process = storm.start(namespace, BURST, mode)
        while load_process.poll() is None or session.closes.pending():
            count(source.take())
            source.release()
        assert storm.finish(load_process).errors == 0
        count(source.overdue(everything=True))
        stats = session.stats()
        assert stats[Stat.LOST_CLOSES] == stats[Stat.CONN_FULL] == stats[Stat.CLOSING_FULL] == 0
        assert session.misses() == 0
        missing, unseen = 2 * BURST - lives.total(), stats[Stat.UNSEEN_ENDS]
        # The kernel may keep some from every program.
        assert missing <= watching.count("tcp_destroy_sock")
        assert missing - AMONG_THE_LAST <= unseen <= missing
        assert len(lives) == lives.total()
