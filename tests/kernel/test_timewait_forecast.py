# SPDX-License-Identifier: Apache-2.0
"""Local ports run out when the forecast says so, and do not when it says never."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.kit.namespace import ip
from tracetw.host.netns import Netns
from tracetw.lab.polling import patient
from tracetw.timewait.forecast import Forecast, forecasts
from tracetw.timewait.snapshot import take

LOAD = Path(__file__).parent / "kit" / "port_load.py"
LO, OTHER, SIX = "127.0.0.1:900", "10.77.0.1:900", "::1:900"
RATE, LOW, PORTS = 150, 40000, 300
WITHIN = 0.1


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


def failure(child: subprocess.Popen[str]) -> tuple[float, str] | None:
    """When there was no port left, and the error; None when that did not happen."""
    words = child.communicate(timeout=patient(20))[0].split()
    return None if words == ["lasted"] else (float(words[0]), words[1])


def of(ns: Netns) -> tuple[float, list[Forecast]]:
    now = time.monotonic()
    return now, [each for each in forecasts(take(ns.inode)) if each.time_wait > 9]


@pytest.fixture
def narrow(ns: Netns) -> Netns:
    ip("-n", str(ns.name), "addr", "add", "10.77.0.1/32", "dev", "lo")
    settings(ns, ip_local_port_range=f"{LOW} {LOW + PORTS - 1}", tcp_tw_reuse=0)
    return ns


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
def test_ports_run_out_when_foretold(narrow: Netns, case: str) -> None:
    how, to, values = CASES[case]
    settings(narrow, **values)
    with load(narrow, how, *to) as child:
        time.sleep(0.8)
        now, (first, *_) = of(narrow)
        failed = failure(child)
    print(first)
    assert failed is not None
    assert first.seconds_left is not None
    assert first.way == ("bind" if how == "bind" else "connect")
    assert failed[1] == ("EADDRINUSE" if how == "bind" else "EADDRNOTAVAIL")
    assert first.seconds_left == pytest.approx(failed[0] - now, rel=WITHIN)


@pytest.mark.parametrize(
    ("to", "values"),
    [
        (OTHER, {"tcp_tw_reuse": 1, "tcp_tw_reuse_delay": 600}),
        (LO, {"tcp_tw_reuse": 2, "tcp_tw_reuse_delay": 600}),
    ],
)
def test_never_when_connect_takes_ports_over_in_time(
    narrow: Netns, to: str, values: dict[str, object]
) -> None:
    settings(narrow, **values)
    with load(narrow, "connect", to, longest=3) as child:
        time.sleep(1.5)
        _, (first, *_) = of(narrow)
        assert first.seconds_left is None
        assert first.reusable > first.time_wait / 2
        assert failure(child) is None


def test_two_destinations_have_all_ports_each(narrow: Netns) -> None:
    settings(narrow, ip_local_port_range=f"{LOW} {LOW + 149}")
    with load(narrow, "connect", LO, "127.0.0.1:901") as child:
        time.sleep(0.8)
        now, both = of(narrow)
        failed = failure(child)
    assert failed is not None
    assert [each.capacity for each in both] == [150, 150]
    assert both[0].seconds_left == pytest.approx(failed[0] - now, rel=WITHIN)


def test_what_bind_holds_is_lost_for_every_destination(narrow: Netns) -> None:
    """A client that binds first, a listener in the range, and a socket that is only bound."""
    with load(narrow, "bind", LO, rate=200, longest=0.5) as child:
        failure(child)
    hold = (
        "import socket, sys; one = socket.create_server(('127.0.0.1', 40290));"
        "two = socket.socket(); two.bind(('127.0.0.1', 40291)); print('held', flush=True); input()"
    )
    with subprocess.Popen(
        ["ip", "netns", "exec", str(narrow.name), sys.executable, "-c", hold],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with load(narrow, "connect", "10.77.0.1:902") as child:
            time.sleep(0.5)
            now, found = of(narrow)
            failed = failure(child)
        holder.communicate("\n")
    first = next(each for each in found if each.way == "connect")
    assert failed is not None
    assert first.held >= 95
    assert first.capacity == PORTS - first.held
    assert first.seconds_left == pytest.approx(failed[0] - now, rel=WITHIN)


def test_the_last_port_of_an_odd_range_is_never_taken(narrow: Netns) -> None:
    settings(narrow, ip_local_port_range="40000 40010")
    with load(narrow, "connect", LO, rate=200) as child:
        assert failure(child) is not None
    assert of(narrow)[1][0].capacity == of(narrow)[1][0].time_wait == 10
