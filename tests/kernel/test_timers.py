# SPDX-License-Identifier: Apache-2.0
"""Each computed time against the kernel's own: all of them at the same time, each in its namespace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kernel.kit import lapse
from tests.kernel.kit.lapse import Play
from tracetw.host.clock import jiffies_per_second
from tracetw.lab.polling import patient
from tracetw.verdict import timers
from tracetw.verdict.timers import TimerClock, Wait

HZ = jiffies_per_second()
CLOSE_ENOUGH = 0.1
LATE_S = patient(0.5) - 0.5
"""On a slow machine it takes that long until somebody notices; nobody notices too early."""


class Case(NamedTuple):
    """What the kernel is made to do, with which sysctls and options, and what is computed for that."""

    measure: Play
    setting: Mapping[str, int]
    computed: Wait
    route_rto_min_ms: int = 0


def clock(
    rto_min_s: float = 0.2, rto_max_s: float = 120.0, *, loss_probe: bool = True
) -> TimerClock:
    return TimerClock(timers.first_rto(rto_min_s, 0.0, HZ), rto_max_s, HZ, loss_probe)


DEFAULT, SHORT = clock(), clock(rto_max_s=1.0)
RTO_MAX = {"tcp_rto_max_ms": 1000}
LINEAR = "tcp_syn_linear_timeouts"
KEEPALIVE = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3}
ORPHAN_ANSWERED = partial(lapse.fill, answers=True, closes=True)
ORPHAN_SILENT = partial(lapse.fill, answers=False, closes=True)
SILENT = partial(lapse.fill, answers=False, closes=False)
ANSWERED = partial(lapse.fill, answers=True, closes=False)


def _data() -> Iterator[tuple[str, Case]]:
    send, few = lapse.send, {"tcp_retries2": 3}
    for retries in (3, 5):
        setting = {"tcp_retries2": retries}
        yield f"retries2-{retries}", Case(send, setting, timers.data(DEFAULT, retries))
    for retries in (3, 5, 8):
        setting = {"tcp_retries2": retries, **RTO_MAX}
        yield f"retries2-{retries}-rto-max", Case(send, setting, timers.data(SHORT, retries))
    option = {"tcp_retries2": 5, "TCP_RTO_MAX_MS": 1000}
    yield "retries2-5-rto-max-of-the-socket", Case(send, option, timers.data(SHORT, 5))
    by_rto = timers.data(clock(0.02), 3)
    yield "rto-min", Case(send, {**few, "tcp_rto_min_us": 20_000}, by_rto)
    yield "rto-min-of-the-route", Case(send, few, by_rto, route_rto_min_ms=20)
    yield "rto-min-long", Case(send, {**few, "tcp_rto_min_us": 400_000}, timers.data(clock(0.4), 3))
    unprobed = timers.data(clock(loss_probe=False), 3)
    yield "no-loss-probe", Case(send, {**few, "tcp_early_retrans": 0}, unprobed)
    for ms in (300, 1500, 4000):
        by_option = timers.data(DEFAULT, 15, ms / 1000)
        yield f"user-timeout-{ms}", Case(send, {"TCP_USER_TIMEOUT": ms}, by_option)


def _orphans() -> Iterator[tuple[str, Case]]:
    close = lapse.close
    for retries in (1, 2, 3):
        setting = {"tcp_orphan_retries": retries}
        yield f"orphan-{retries}", Case(close, setting, timers.orphan(DEFAULT, retries))
    yield "orphan-0-rto-max", Case(close, RTO_MAX, timers.orphan(SHORT, 0))
    yield (
        "orphan-0-rto-max-3",
        Case(close, {"tcp_rto_max_ms": 3000}, timers.orphan(clock(rto_max_s=3.0), 0)),
    )
    many = {"tcp_orphan_retries": 5, **RTO_MAX}
    yield "orphan-5-rto-max", Case(close, many, timers.orphan(SHORT, 5))
    for retries in (0, 2, 5):
        setting = {"tcp_orphan_retries": retries, **RTO_MAX}
        for name, measure in (("answered", ORPHAN_ANSWERED), ("silent", ORPHAN_SILENT)):
            yield (
                f"orphan-window-{name}-{retries}",
                Case(
                    measure,
                    setting,
                    timers.orphan_window(SHORT, retries, answers=measure is ORPHAN_ANSWERED),
                ),
            )
    yield (
        "orphan-window-answered-4",
        Case(
            ORPHAN_ANSWERED,
            {"tcp_rto_max_ms": 4000},
            timers.orphan_window(clock(rto_max_s=4.0), 0, answers=True),
        ),
    )


def _windows_and_keepalive() -> Iterator[tuple[str, Case]]:
    few = {"tcp_retries2": 3}
    yield "window-silent", Case(SILENT, few, timers.window(DEFAULT, 3, answers=False))
    yield (
        "window-user-timeout",
        Case(ANSWERED, {"TCP_USER_TIMEOUT": 2000}, timers.window(DEFAULT, 15, 2.0, answers=True)),
    )

    yield "keepalive", Case(lapse.idle, KEEPALIVE, timers.keepalive(DEFAULT, 2, 1, 3))
    by_sysctl = {
        "tcp_keepalive_time": 1,
        "tcp_keepalive_intvl": 2,
        "tcp_keepalive_probes": 2,
    }
    yield "keepalive-by-sysctl", Case(lapse.idle, by_sysctl, timers.keepalive(DEFAULT, 1, 2, 2))
    for ms in (1500, 3500):
        setting = {**KEEPALIVE, "TCP_USER_TIMEOUT": ms}
        yield (
            f"keepalive-user-timeout-{ms}",
            Case(lapse.idle, setting, timers.keepalive(DEFAULT, 2, 1, 3, ms / 1000)),
        )


def _openings_and_fin_wait2() -> Iterator[tuple[str, Case]]:
    for retries, linear in ((1, 0), (2, 0), (1, 4), (2, 4), (3, 2)):
        setting = {"tcp_syn_retries": retries, LINEAR: linear}
        yield (
            f"syn-{retries}-linear-{linear}",
            Case(lapse.connect, setting, timers.syn(DEFAULT, retries, linear)),
        )
    yield "syn-rto-max", Case(lapse.connect, RTO_MAX, timers.syn(SHORT, 6, 4))
    yield (
        "syn-user-timeout",
        Case(lapse.connect, {"TCP_USER_TIMEOUT": 2500}, timers.syn(DEFAULT, 6, 4, 2.5)),
    )
    for retries in (1, 2):
        setting = {"tcp_synack_retries": retries}
        yield f"syn-ack-{retries}", Case(lapse.request, setting, timers.syn_ack(DEFAULT, retries))

    for seconds in (3, 5, 62):
        setting = {"tcp_fin_timeout": seconds}
        yield (
            f"fin-timeout-{seconds}",
            Case(lapse.orphaned, setting, timers.fin_wait2(DEFAULT, seconds)),
        )
    yield "linger2", Case(lapse.orphaned, {"TCP_LINGER2": 3}, timers.fin_wait2(DEFAULT, 3))


def _long() -> Iterator[tuple[str, Case]]:
    """Those that no setting of the kernel shortens."""
    eight = timers.data(DEFAULT, 8)
    yield "retries2-8", Case(lapse.send, {"tcp_retries2": 8}, eight)
    yield "orphan-0", Case(lapse.close, {}, timers.orphan(DEFAULT, 0))
    yield (
        "orphan-window-silent-0",
        Case(ORPHAN_SILENT, {}, timers.orphan_window(DEFAULT, 0, answers=False)),
    )
    yield (
        "orphan-window-answered-0",
        Case(ORPHAN_ANSWERED, {}, timers.orphan_window(DEFAULT, 0, answers=True)),
    )
    yield "syn", Case(lapse.connect, {LINEAR: 4}, timers.syn(DEFAULT, 6, 4))
    yield "syn-ack", Case(lapse.request, {}, timers.syn_ack(DEFAULT, 5))
    yield (
        "syn-ack-rto-max",
        Case(lapse.request, {**RTO_MAX, "tcp_synack_retries": 4}, timers.syn_ack(SHORT, 4)),
    )
    yield "fin-timeout-60", Case(lapse.orphaned, {}, timers.fin_wait2(DEFAULT, 60))


CASES = {
    name: case
    for cases in (_data(), _orphans(), _windows_and_keepalive(), _openings_and_fin_wait2())
    for name, case in cases
}
LONG = dict(_long())
Running = Mapping[str, Future[float]]


def _lacking(case: Case) -> str | None:
    """A setting of the case that this kernel does not have."""
    for name in case.setting:
        sysctl = "tcp_rto_max_ms" if name == "TCP_RTO_MAX_MS" else name
        if sysctl.islower() and not Path("/proc/sys/net/ipv4", sysctl).exists():
            return sysctl
    return None


def _start(cases: Mapping[str, Case]) -> Running:
    playable = {name: case for name, case in cases.items() if _lacking(case) is None}
    futures = lapse.start(
        (case.measure, case.setting, case.route_rto_min_ms) for case in playable.values()
    )
    return dict(zip(playable, futures, strict=True))


@pytest.fixture(scope="module")
def running() -> Running:
    return _start(CASES)


@pytest.fixture(scope="module")
def running_long() -> Running:
    return _start(LONG)


def _compare(case: Case, future: Future[float] | None) -> None:
    if future is None:
        pytest.skip(f"no {_lacking(case)}")
    took_s = future.result(patient(400))
    computed = case.computed.typical_s
    print(f"measured {took_s:.3f} s, computed {computed:.3f} s ({computed / took_s - 1:+.1%})")
    assert took_s * (1 - CLOSE_ENOUGH) - LATE_S < computed < took_s * (1 + CLOSE_ENOUGH), case


@pytest.mark.kernel
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_takes_as_long_as_computed(running: Running, name: str) -> None:
    _compare(CASES[name], running.get(name))


@pytest.mark.kernel
@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.parametrize("name", LONG)
def test_the_kernel_takes_as_long_as_computed_where_that_is_minutes(
    running_long: Running, name: str
) -> None:
    _compare(LONG[name], running_long.get(name))
