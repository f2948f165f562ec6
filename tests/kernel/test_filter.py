# SPDX-License-Identifier: Apache-2.0
"""The filters of ``tracetw trace``: one set of connections, a tracer at once for each filter.

And beside them, for filters that the kernel evaluates as a whole, what the programs let through
before user space looks at it again.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from scripts.benchmark.namespace import storm_host
from scripts.benchmark.storm import Storm
from tests.kernel.kit.reader import SMALL, Reader, attached
from tests.kernel.kit.room import element
from tracetw.event.record import Stat
from tracetw.kernel.plan import WAYS
from tracetw.lab.net.actor_process import Actor
from tracetw.lab.net.cable import networks
from tracetw.lab.net.cgroup import joined
from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually, patient
from tracetw.stream.filter import Filter

# Host and server port of a connection end.
End: TypeAlias = tuple[str, int]

QUICK, SIX, RESET, LONG = 7001, 7002, 7003, 7004
LONG_S = patient(0.7)
LESS_MS = round(patient(500))
ALL = {(host, port) for host in "ab" for port in (QUICK, SIX, RESET, LONG)}


def ends(*ports: int) -> set[End]:
    """Both ends of connections."""
    return {end for end in ALL if end[1] in ports}


def at(host: str) -> set[End]:
    """The ends on one host."""
    return {end for end in ALL if end[0] == host}


@dataclass(frozen=True, slots=True)
class Cast:
    """The hosts and the two client processes, which exist before the tracers start."""

    pair: Net
    alpha: Actor
    beta: Actor
    group: str | None  # of alpha, as a path below the mount of cgroup version 2


Options: TypeAlias = Callable[[Cast], list[str]]

CASES: dict[str, tuple[Options, set[End]]] = {
    "none": (lambda _: [], ALL),
    "port": (lambda _: ["--port", "7001"], ends(QUICK)),
    "ports": (lambda _: ["--port", "7001", "--port", "7002"], ends(QUICK, SIX)),
    "local-port": (lambda _: ["--local-port", "7001"], {("b", QUICK)}),
    "remote-port": (lambda _: ["--remote-port", "7001"], {("a", QUICK)}),
    "addr-v4": (lambda _: ["--addr", networks(99)[4]], ends(QUICK, RESET, LONG)),
    "addr-v4-host": (lambda cast: ["--addr", cast.pair.a.addresses[4]], ends(QUICK, RESET, LONG)),
    "addr-v4-other": (lambda _: ["--addr", "10.98.0.0/16"], set()),
    "addr-v6": (lambda _: ["--addr", networks(99)[6]], ends(SIX)),
    "addr-all-v6": (lambda _: ["--addr", "::/0"], ends(SIX)),
    "pid": (lambda cast: ["--pid", str(cast.alpha.pid)], {("a", QUICK), ("a", RESET)}),
    "comm": (lambda _: ["--comm", "flt-beta"], {("a", SIX), ("a", LONG)}),
    "cgroup": (lambda cast: ["--cgroup", cast.group or "/"], {("a", QUICK), ("a", RESET)}),
    "not-port": (lambda _: ["--port", "!7001,7002"], ends(RESET, LONG)),
    "not-addr": (lambda _: ["--addr", f"!{networks(99)[4]}"], ends(SIX)),
    "not-comm": (
        lambda _: ["--comm", "!flt-beta", "--port", "7001-7004"],
        ALL - {("a", SIX), ("a", LONG)},
    ),
    "not-verdict": (lambda _: ["--verdict", "!orderly"], ends(RESET)),
    "not-netns": (lambda cast: ["--netns", f"!{cast.pair.a.name}"], at("b")),
    "six": (lambda _: ["-6"], ends(SIX)),
    "four": (lambda _: ["-4", "-P", "7001-7002"], ends(QUICK)),
    "netns-name": (lambda cast: ["--netns", cast.pair.a.name], at("a")),
    "netns-inode": (lambda cast: ["--netns", str(cast.pair.b.netns)], at("b")),
    "netns-all": (lambda _: ["--netns", "all"], ALL),
    "verdict": (lambda _: ["--verdict", "peer-reset"], {("b", RESET)}),
    "verdicts": (
        lambda _: ["--verdict", "peer-reset", "--verdict", "abort-linger"],
        ends(RESET),
    ),
    "abnormal": (lambda _: ["--abnormal"], ends(RESET)),
    "min-duration": (lambda _: ["--min-duration", f"{LESS_MS}ms"], ends(LONG)),
    "both": (lambda cast: ["--port", "7003", "--netns", cast.pair.a.name], {("a", RESET)}),
}
# What others do on this host does not fill the small rings.
OURS = ["7001-7004"]
# All that these ask for the kernel knows. One of each kind.
IN_KERNEL: dict[str, tuple[Callable[[Cast], dict[str, Any]], set[End]]] = {
    "all": (lambda _: {"port": OURS}, ALL),
    "ports": (lambda _: {"port": ["7001,7002"]}, ends(QUICK, SIX)),
    "local-port": (lambda _: {"local_port": ["7001"]}, {("b", QUICK)}),
    "remote-port": (lambda _: {"remote_port": ["7001"]}, {("a", QUICK)}),
    "addr-v4": (lambda _: {"addr": [networks(99)[4]]}, ends(QUICK, RESET, LONG)),
    "addr-v6": (lambda _: {"addr": [networks(99)[6]]}, ends(SIX)),
    "netns": (lambda cast: {"netns": [cast.pair.a.name]}, at("a")),
    "six": (lambda _: {"six": True, "port": OURS}, ends(SIX)),
    "not-port": (lambda _: {"port": [*OURS, "!7001,7002"]}, ends(RESET, LONG)),
    "not-local-port": (lambda _: {"local_port": ["!7001"], "port": OURS}, ALL - {("b", QUICK)}),
    "not-remote-port": (lambda _: {"remote_port": ["!7001"], "port": OURS}, ALL - {("a", QUICK)}),
    "not-addr": (lambda _: {"addr": [f"!{networks(99)[4]}"], "port": OURS}, ends(SIX)),
    "not-netns": (lambda cast: {"netns": [f"!{cast.pair.a.name}"], "port": OURS}, at("b")),
    "together": (
        lambda cast: {"port": ["7001-7003", "!7002"], "four": True, "netns": [cast.pair.b.name]},
        {("b", QUICK), ("b", RESET)},
    ),
}
# Where everything takes longer, those that differ in kind: each of these is a tracer, and most are
# compiled.
FEW = [
    "port",
    "addr-v4",
    "addr-v6",
    "pid",
    "comm",
    "cgroup",
    "netns-name",
    "verdict",
    "min-duration",
    "both",
]
if patient(1) > 1:
    CASES = {name: CASES[name] for name in FEW}
    IN_KERNEL = {name: IN_KERNEL[name] for name in ("ports", "addr-v6", "not-addr", "not-netns")}


def converse(cast: Cast, process: Actor, port: int, family: int = 4, lives_s: float = 0.0) -> None:
    """The process connects to us and closes first; all is over when this returns."""
    pair = cast.pair
    listener = pair.keep(pair.b.listen(family, port))
    process.connect(pair.b.addresses[family], family, port)
    end = pair.keep(listener.accept()[0])
    if lives_s:
        time.sleep(lives_s)  # what is filtered for is a time
    if port == RESET:
        process.do("linger", 1, 0)
    process.do("close")
    if port != RESET:
        eventually(lambda: pair.a.states(port) == ["FIN_WAIT2"])
    assert port == RESET or end.recv(1) == b""
    eventually(lambda: pair.b.states(port) in ([], ["CLOSE_WAIT"]))
    end.close()
    eventually(lambda: pair.b.states(port) == [])


@pytest.fixture(scope="module")
def selected() -> Iterator[dict[str, list[End]]]:
    """What each filter let through, by name of the case; the order is of no meaning.

    What the kernel alone let through is under ``kernel-`` and the name.
    """
    with ExitStack() as stack:
        pair = stack.enter_context(Net())
        alpha, beta = pair.actor(pair.a, "flt-alpha"), pair.actor(pair.a, "flt-beta")
        cast = Cast(pair, alpha, beta, stack.enter_context(joined(alpha.pid)))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            started = [pool.submit(Tracer, *options(cast)) for options, _ in CASES.values()]
        for one in started:
            if not one.exception():
                stack.enter_context(one.result())
        readers = {
            name: Reader(
                stack.enter_context(attached(SMALL, Filter.parse(**options(cast)))),
                pair.a.netns,
                pair.b.netns,
            )
            for name, (options, _) in IN_KERNEL.items()
        }
        tracers = {name: one.result() for name, one in zip(CASES, started, strict=True)}
        converse(cast, cast.alpha, QUICK)
        converse(cast, cast.beta, SIX, family=6)
        converse(cast, cast.alpha, RESET)
        converse(cast, cast.beta, LONG, lives_s=LONG_S)
        found: dict[str, list[End]] = {}
        for name, tracer in tracers.items():
            tracer.stop(0 if CASES[name][1] else 130)
            on_a = tracer.select(kind="close", netns=pair.a.netns)
            on_b = tracer.select(kind="close", netns=pair.b.netns)
            found[name] = [
                *sorted(("a", line["remote"]["port"]) for line in on_a),
                *sorted(("b", line["local"]["port"]) for line in on_b),
            ]
        for name, reader in readers.items():
            rows = reader.finish()
            on_a = rows["netns"] == pair.a.netns
            found[f"kernel-{name}"] = sorted(
                [("a", port) for port in rows["rport"][on_a].tolist()]
                + [("b", port) for port in rows["lport"][~on_a].tolist()]
            )
        yield found


@pytest.mark.parametrize("case", CASES)
def test_selects_exactly(selected: dict[str, list[End]], case: str) -> None:
    if case == "cgroup" and "cgroup2" not in Path("/proc/mounts").read_text():
        pytest.skip("no cgroup of version 2 is mounted: /proc/mounts has no cgroup2")
    assert selected[case] == sorted(CASES[case][1])


@pytest.mark.parametrize("case", IN_KERNEL)
def test_the_kernel_alone_selects_exactly(selected: dict[str, list[End]], case: str) -> None:
    assert selected[f"kernel-{case}"] == sorted(IN_KERNEL[case][1])


def refused(times: int) -> None:
    """Connections to a port of this host where nobody listens, two of each socket."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for _ in range(times):
            with socket.socket() as client:
                for _ in range(2):
                    with pytest.raises(ConnectionRefusedError):
                        client.connect(closed.getsockname())


@pytest.mark.parametrize(
    "wanted", [{"port": ["1"]}, {"local_port": ["1"]}, {"addr": ["10.98.0.1"]}]
)
def test_what_is_ruled_out_is_counted_and_takes_no_room(
    wanted: dict[str, Any], tmp_path: Path
) -> None:
    """While connect() looks for a port, the local one may still become any: such a connection has a slot at first."""
    ours = 2 * 500 + 2 * 300
    with storm_host() as namespace, attached(SMALL, Filter.parse(**wanted)) as opened:
        reader = Reader(opened, namespace.netns)
        Storm(tmp_path).run(namespace, 500)
        refused(300)
        stats = opened.stats()
        sets = range(SMALL.conn_slots // WAYS)
        slots = [
            word
            for at in sets
            for word in struct.iter_unpack("=Q", element(opened, "conn_keys", at))
        ]
        assert not len(reader.finish())
    # Others on this host may end connections, too.
    assert ours <= stats[Stat.FILTERED] < 2 * ours
    assert sum(key != 0 for (key,) in slots) < ours // 10
    assert stats[Stat.UNSEEN_ENDS] == 0
    assert stats[Stat.LOST_CLOSES] == stats[Stat.CONN_FULL] == stats[Stat.CLOSING_FULL] == 0
