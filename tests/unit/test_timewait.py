# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the forecast, the walk through messages, and who chose a port; no kernel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracetw.host import socktable
from tracetw.timewait.carriers import CARRIER, Carried
from tracetw.timewait.cause import cause
from tracetw.timewait.forecast import _rate, _runs_out
from tracetw.timewait.ports import Ports, chosen_by_bind
from tracetw.timewait.wording import sockets
from tracetw.verdict.taxonomy import FIRST_CLOSE


@given(
    room=st.integers(1, 60),
    waiting=st.lists(st.floats(0.125, 60, width=32), max_size=60),
    rate=st.floats(0.1, 50),
    hold=st.floats(0.5, 60),
)
def test_ports_run_out_as_in_a_simulation(
    room: int, waiting: list[float], rate: float, hold: float
) -> None:
    ends = np.sort(np.array([each for each in waiting if each <= hold], np.float32))
    found = _runs_out(room, ends, rate, hold)

    def in_use(at: float) -> float:
        return float((ends > at).sum()) + rate * at

    moments = [*np.linspace(0, hold, 500), *ends.tolist()]
    full = sorted(at for at in moments if at <= hold and in_use(at) >= room + 1e-6)
    if found is None:
        assert not full
    else:
        assert found <= hold
        assert in_use(found - 1e-4) >= room - 0.01
        assert all(at >= found - 1e-3 for at in full)


@pytest.mark.parametrize(
    ("ages", "hold", "rate"),
    [
        (np.full(120, 0.2), 60.0, 119.0),  # a burst is a second's
        (np.full(120, 0.2), 0.5, 238.0),
        (np.linspace(0, 0.003, 120), 60.0, None),
        (np.linspace(0, 4, 401), 60.0, 100.0),
        (np.linspace(0, 40, 401), 60.0, 10.1),
        (np.array([1.0]), 60.0, None),
    ],
)
def test_a_burst_is_no_rate(ages: NDArray[np.float64], hold: float, rate: float | None) -> None:
    found, _ = _rate(ages.astype(np.float32), hold)
    assert found == (None if rate is None else pytest.approx(rate, rel=0.02))


@given(st.lists(st.integers(16, 400), min_size=1, max_size=300))
def test_all_messages_are_found_whatever_their_sizes(sizes: list[int]) -> None:
    starts: list[int] = []
    words: list[int] = []
    for size in sizes:
        starts.append(len(words))
        words += [size, *[0xFFFFFFFF] * ((size + 3) // 4 - 1)]
    assert socktable._starts(np.array(words, np.uint32)).tolist() == starts


@given(st.binary(min_size=16, max_size=400))
def test_bytes_that_are_no_messages_end(data: bytes) -> None:
    words = np.frombuffer(data[: len(data) // 4 * 4], np.uint32)
    assert (np.diff(socktable._starts(words)) > 0).all()


LOW = 40000


def chosen(ports: list[int], ages: list[float], held: int = 0) -> bool:
    mask = np.zeros(1 << 16, np.bool_)
    mask[LOW : LOW + 200] = True
    taken = np.zeros(1 << 16, np.bool_)
    taken[LOW : LOW + 2 * held : 2] = True
    lport, age = np.array(ports, np.uint16), np.array(ages, np.float32)
    code = np.zeros(len(ports), np.intp)
    return bool(chosen_by_bind(lport, code, age, Ports(mask, taken, 0), LOW).all())


EVEN, ODD = [LOW + 2 * n for n in range(100)], [LOW + 2 * n + 1 for n in range(100)]


@pytest.mark.parametrize(
    ("ports", "ages", "said"),
    [
        (ODD[:20], [1.0] * 20, True),
        (EVEN[:20] + ODD[:20], [1.0] * 40, True),  # a caller that takes any port
        (EVEN[:20], [1.0] * 20, False),
        (ODD[:5], [1.0] * 5, False),  # too few
        (EVEN + ODD[:20], [5.0] * 100 + [1.0] * 20, False),  # the first parity is full
        (ODD[:20], [50.0] * 20, False),  # what is left of a burst: the first parity has ended
    ],
)
def test_who_chose_is_told_by_the_parity(
    ports: list[int], ages: list[float], *, said: bool
) -> None:
    assert chosen(ports, ages) is said


def test_no_room_in_the_first_parity_is_no_sign_of_bind() -> None:
    assert chosen(ODD[:20], [1.0] * 20, held=100) is False


def carried(**columns: object) -> Carried:
    rows = np.zeros(20, CARRIER)
    rows["first_close"] = FIRST_CLOSE.index("local")
    for name, values in columns.items():
        rows[name] = values
    return Carried(np.arange(20), rows, "a test")


SECONDS = np.arange(20) * 1_000_000_000 + 2_000_000_000


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"duration_ns": 5_000_000}, "short connections without keep-alive"),
        ({"duration_ns": SECONDS, "idle_ms": 5000}, "idle timeout: closed after 5.0 s"),
        ({"duration_ns": 60_000_000_000}, "limit of age: closed after about 60.0 s"),
        ({"duration_ns": SECONDS, "received": 100_000}, "limit of requests"),
        ({"duration_ns": SECONDS, "received": SECONDS // 1000}, "show no common limit"),
        ({"duration_ns": -1, "idle_ms": -1}, "is not known"),
        ({"first_close": FIRST_CLOSE.index("remote")}, "0 were closed by this side first"),
    ],
)
def test_causes_and_their_near_misses(columns: dict[str, object], said: str) -> None:
    assert said in cause(carried(**columns), np.arange(20), "port 80")


def test_few_records_are_no_cause() -> None:
    few = carried()
    assert "is not known" in cause(few, np.arange(9), "port 80")
    assert "without a trace" in cause(None, np.arange(20), "port 80")


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 sockets"), (1, "1 socket"), (2, "2 sockets"), (1234, "1,234 sockets")],
)
def test_one_socket_is_one(count: int, said: str) -> None:
    assert sockets(count) == said
