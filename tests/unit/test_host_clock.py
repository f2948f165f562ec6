# SPDX-License-Identifier: Apache-2.0
"""Monotonic to wall time, and wall time to text."""

from __future__ import annotations

import time

import numpy as np

from tracetw.host.clock import Clock, local_times, rfc3339, rfc3339_all


def test_now_agrees_with_the_clocks() -> None:
    clock = Clock.now()
    low = time.time_ns()
    told = clock.to_wall_ns(time.monotonic_ns())
    high = time.time_ns()
    slack = 1_000_000 + clock.error_ns  # the two clocks may be slewed apart meanwhile
    assert low - slack <= told <= high + slack
    assert 0 <= clock.error_ns < 1_000_000


def test_to_wall_of_an_array_equals_that_of_each_value() -> None:
    clock = Clock(1_700_000_000_000_000_000, 10)
    values = np.array([0, 1, 123_456_789_012_345], dtype=np.uint64)
    wall = clock.to_wall_ns(values)
    assert wall.dtype == np.int64
    assert wall.tolist() == [clock.to_wall_ns(int(value)) for value in values]


def test_rfc3339_has_nine_digits_and_utc() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
    assert rfc3339(1_700_000_000_000_000_006) == "2023-11-14T22:13:20.000000006Z"


def test_rfc3339_of_an_array_is_what_numpy_says() -> None:
    random = np.random.default_rng(1)
    values = random.integers(0, 4_000_000_000_000_000_000, 1000, dtype=np.int64)
    values[:3] = (999_999_999, 1_000_000_000, 1_709_164_800_123_456_789)
    told = [text.decode() for text in rfc3339_all(values)]
    assert told == np.datetime_as_string(values.view("M8[ns]"), "ns", timezone="UTC").tolist()
    assert told == [rfc3339(int(value)) for value in values]
    assert rfc3339_all(values[:0]) == []


def test_times_of_day() -> None:
    values = np.array([1_700_000_000_999_999_999, 1_700_000_001_000_000_000], dtype=np.int64)
    assert local_times(values, utc=True) == ["22:13:20.999", "22:13:21.000"]
    assert local_times(values, utc=True, digits=0) == ["22:13:20", "22:13:21"]
    assert local_times(values, utc=True, digits=6) == ["22:13:20.999999", "22:13:21.000000"]
    here = time.strftime("%H:%M:%S", time.localtime(1_700_000_000))
    assert local_times(values, utc=False)[0] == f"{here}.999"
