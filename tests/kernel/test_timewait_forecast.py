# SPDX-License-Identifier: Apache-2.0
"""Local ports run out when the forecast says so, and do not when it says never."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.kit.namespace import ip, namespace
from tracetw.host.netns import Netns
from tracetw.lab.polling import patient
from tracetw.timewait.forecast import Forecast, forecasts
from tracetw.timewait.snapshot import take

LOAD = Path(__file__).parent / "kit" / "port_load.py"
LO, OTHER, SIX = "127.0.0.1:900", "10.77.0.1:900", "::1:900"
RATE, LOW, PORTS = 140, 40000, 300
WITHIN = 0.1
EVEN, AGAIN = 0.05, 8


def settings(ns: Netns, **values: object) -> None:
    words = [f"net.ipv4.{name}={value}" for name, value in values.items()]
    if words:
        ip("netns", "exec", str(ns.name), "sysctl", "-q", "-w", *words)


@contextmanager
def load(
    ns: Netns, how: str, *to: str, rate: float = RATE, longest: float = 6
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(LOAD), str(rate), str(longest), how, *to]
    with subprocess.Popen(
        ["ip", "netns", "exec", str(ns.name), *command], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "begun\n"
            yield child
        finally:
            child.kill()


@dataclass(frozen=True)
class Ran:
    """What became of a load: when each connection was over, and when there was no port left."""

    times: list[float]
    failed: float | None
    error: str | None

    def even(self, now: float) -> bool:
        """Was the pace the same before and after? A busy machine may have stopped the load for a while."""
        assert self.failed is not None
        before = sum(at < now for at in self.times) / (now - self.times[0])
        after = sum(at >= now for at in self.times) / (self.failed - now)
        return abs(before / after - 1) < EVEN


def ran(child: subprocess.Popen[str]) -> Ran:
    return Ran(**json.loads(child.communicate(timeout=patient(20))[0]))


@contextmanager
def fresh(**values: object) -> Iterator[Netns]:
    """A namespace with few ports; a second address that is not loopback by its number."""
    with namespace() as ns:
        ip("-n", str(ns.name), "addr", "add", "10.77.0.1/32", "dev", "lo")
        last = LOW + PORTS - 1
        settings(ns, ip_local_port_range=f"{LOW} {last}", tcp_tw_reuse=0)
        settings(ns, **values)
        yield ns


def foretold(
    how: str, to: list[str], values: dict[str, object], wait: float = 1.2
) -> tuple[list[Forecast], float, Ran]:
    """What was foretold while a load ran, when, and what became of it; again if the pace was not even."""
    for _ in range(AGAIN):
        with fresh(**values) as ns, load(ns, how, *to) as child:
            time.sleep(wait)
            now, found = of(ns)
            run = ran(child)
        if run.failed is None or run.even(now):
            break
    return found, now, run


def of(ns: Netns) -> tuple[float, list[Forecast]]:
    now = time.monotonic()
    return now, [each for each in forecasts(take(ns.inode)) if each.time_wait > 9]


CASES: dict[str, tuple[str, list[str], dict[str, object]]] = {
    "connect": ("connect", [LO], {}),
    "connect-ipv6": ("connect", [SIX], {}),
    "reserved": ("connect", [LO], {"ip_local_reserved_ports": "40100-40139,39000"}),
    "reuse-2-not-loopback": ("connect", [OTHER], {"tcp_tw_reuse": 2, "tcp_tw_reuse_delay": 100}),
    "reuse-1-too-slow": ("connect", [OTHER], {"tcp_tw_reuse": 1, "tcp_tw_reuse_delay": 2500}),
    "reuse-2-too-slow": ("connect", [LO], {"tcp_tw_reuse": 2, "tcp_tw_reuse_delay": 2500}),
    "reuse-1-no-timestamps": (
        "connect",
        [OTHER],
        {"tcp_tw_reuse": 1, "tcp_tw_reuse_delay": 100, "tcp_timestamps": 0},
    ),
    "bind": ("bind", [LO], {"tcp_tw_reuse": 2, "tcp_tw_reuse_delay": 100}),
    "bind-two": ("bind", [LO, "127.0.0.1:901"], {"tcp_tw_reuse": 2, "tcp_tw_reuse_delay": 100}),
    "bind-no-port": ("no-port", [LO], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_ports_run_out_when_foretold(case: str) -> None:
    how, to, values = CASES[case]
    (first, *_), now, run = foretold(how, to, values)
    assert run.failed is not None
    assert first.seconds_left is not None
    assert first.way == ("bind" if how == "bind" else "connect")
    assert run.error == ("EADDRINUSE" if how == "bind" else "EADDRNOTAVAIL")
    assert first.seconds_left == pytest.approx(run.failed - now, rel=WITHIN)


@pytest.mark.parametrize(
    ("to", "values"),
    [
        (OTHER, {"tcp_tw_reuse": 1, "tcp_tw_reuse_delay": 600}),
        (LO, {"tcp_tw_reuse": 2, "tcp_tw_reuse_delay": 600}),
    ],
)
def test_never_when_connect_takes_ports_over_in_time(to: str, values: dict[str, object]) -> None:
    with fresh(**values) as ns, load(ns, "connect", to, longest=3) as child:
        time.sleep(1.5)
        _, (first, *_) = of(ns)
        assert first.seconds_left is None
        assert first.reusable > first.time_wait / 2
        assert ran(child).failed is None


def test_two_destinations_have_all_ports_each() -> None:
    two: dict[str, object] = {"ip_local_port_range": f"{LOW} {LOW + 149}"}
    both, now, run = foretold("connect", [LO, "127.0.0.1:901"], two)
    assert run.failed is not None
    assert [each.capacity for each in both] == [150, 150]
    assert both[0].seconds_left == pytest.approx(run.failed - now, rel=WITHIN)


HOLD = """
import socket
one = socket.create_server(("127.0.0.1", 40290))
two = socket.socket()
two.bind(("127.0.0.1", 40292))
print("held", flush=True)
input()
"""


def test_what_bind_holds_is_lost_for_every_destination() -> None:
    """A client that binds first, a listener in the range, and a socket that is only bound."""
    with fresh() as ns:
        with load(ns, "bind", LO, rate=200, longest=0.5) as child:
            assert ran(child).failed is None
        with subprocess.Popen(
            ["ip", "netns", "exec", str(ns.name), sys.executable, "-c", HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with load(ns, "connect", "10.77.0.1:902") as child:
                time.sleep(0.3)
                _, found = of(ns)
                run = ran(child)
            holder.communicate("\n")
    first = next(each for each in found if each.way == "connect")
    assert run.failed is not None
    # 100 that bind() chose, and two more; none of them comes back while the load lasts.
    assert (first.held, first.capacity) == (102, 198)
    assert len(run.times) == 198


def test_of_an_odd_range_one_port_may_be_left() -> None:
    with fresh(ip_local_port_range="40000 40010") as ns, load(ns, "connect", LO) as child:
        run = ran(child)
        assert run.failed is not None
        [first] = of(ns)[1]
    assert first.capacity == 10
    assert first.time_wait == len(run.times)
    assert len(run.times) in {10, 11}
    assert (first.free, first.seconds_left) == (0, 0)
