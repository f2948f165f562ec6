# SPDX-License-Identifier: Apache-2.0
"""From the kernel's monotonic clock to wall time, and wall time to text.

Records carry CLOCK_MONOTONIC nanoseconds (``bpf_ktime_get_ns``); people and files want wall time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

_SECOND = 1_000_000_000
_ROUNDING_NS = 1_000
_FAR = (1 << 62) - 1
_PREFIX = 20  # "2026-01-02T03:04:05."
_WIDTH = _PREFIX + 9 + 1
_CLOCK_MONOTONIC_COARSE = 6  # include/uapi/linux/time.h: its resolution is one jiffy


@dataclass(frozen=True, slots=True)
class Clock:
    """The relation of CLOCK_MONOTONIC to CLOCK_REALTIME at one moment.

    Wall time may be set later (NTP, an administrator): take a new one now and then in a long-running
    process. Adjusting its speed moves both clocks alike (adjtimex(2)), so only that changes it.

    Attributes:
        offset_ns: wall time minus monotonic time.
        error_ns: the relation is this exact (half the time that reading the clocks took).
    """

    offset_ns: int
    error_ns: int

    @classmethod
    def now(cls, samples: int = 16) -> Clock:
        """Reads monotonic, wall, monotonic ``samples`` times and keeps the tightest reading."""
        readings = (cls._read() for _ in range(max(1, samples)))
        return min(readings, key=lambda reading: reading.error_ns)

    @classmethod
    def _read(cls) -> Clock:
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        return cls(wall - (before + after) // 2, (after - before + 1) // 2)

    def set_since(self, earlier: Clock) -> bool:
        """Was wall time set in between? True when the two readings cannot both hold."""
        apart = abs(self.offset_ns - earlier.offset_ns)
        return apart > self.error_ns + earlier.error_ns + _ROUNDING_NS

    @overload
    def to_wall_ns(self, mono_ns: int) -> int: ...
    @overload
    def to_wall_ns(self, mono_ns: NDArray[np.int64] | NDArray[np.uint64]) -> NDArray[np.int64]: ...
    def to_wall_ns(
        self, mono_ns: int | NDArray[np.int64] | NDArray[np.uint64]
    ) -> int | NDArray[np.int64]:
        """Nanoseconds since 1970 UTC. A time of 0 ("unknown") is the caller's to keep apart.

        What a recording claims to be 146 years away or more is 146 years away: a sum of two such
        numbers is still one of 64 bits.
        """
        if isinstance(mono_ns, np.ndarray):
            known = np.minimum(mono_ns, _FAR).astype(np.int64)
            if mono_ns.dtype.kind == "i":
                known = np.maximum(known, -_FAR)
            shifted: NDArray[np.int64] = known + min(max(self.offset_ns, -_FAR), _FAR)
            return shifted
        return min(max(int(mono_ns), -_FAR), _FAR) + min(max(self.offset_ns, -_FAR), _FAR)


def jiffies_per_second() -> int:
    """CONFIG_HZ of the running kernel."""
    return round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE))


def rfc3339(wall_ns: int) -> str:
    """``2026-01-02T03:04:05.000000006Z`` for nanoseconds since 1970 UTC."""
    second, rest = divmod(wall_ns, _SECOND)
    return f"{_second_text(second)}{rest:09d}Z"


def rfc3339_all(wall_ns: NDArray[np.int64]) -> list[bytes]:
    """As :func:`rfc3339` for an array, one text each.

    The seconds are written once for each different one, the nine digits by array arithmetic: half
    the time of ``numpy.datetime_as_string``.
    """
    second, rest = np.divmod(wall_ns, _SECOND)
    text = np.empty((len(wall_ns), _WIDTH), dtype=np.uint8)
    text[:, :_PREFIX] = _prefixes(second)
    text[:, _WIDTH - 1] = ord("Z")
    digits = rest.astype(np.uint32)
    for column in range(_WIDTH - 2, _PREFIX - 1, -1):
        left = digits // 10
        text[:, column] = digits - left * 10 + ord("0")
        digits = left
    texts: list[bytes] = text.view(f"S{_WIDTH}").ravel().tolist()
    return texts


def _prefixes(second: NDArray[np.int64]) -> NDArray[np.uint8]:
    """What stands before the digits: one row for all, or one each."""
    if len(second) and (second == second[0]).all():
        return np.frombuffer(_second_text(int(second[0])).encode(), np.uint8)
    different, which = np.unique(second, return_inverse=True)
    prefixes = "".join(map(_second_text, different.tolist())).encode()
    each: NDArray[np.uint8] = np.frombuffer(prefixes, np.uint8).reshape(-1, _PREFIX)[which]
    return each


def local_times(wall_ns: NDArray[np.int64], *, utc: bool, digits: int = 3) -> list[str]:
    """Time of day for tables, ``HH:MM:SS.mmm`` with ``digits`` decimals (0 to 9), cut not rounded.

    ``utc`` selects UTC, otherwise the time zone of this process.
    """
    convert = time.gmtime if utc else time.localtime
    second, rest = np.divmod(wall_ns, _SECOND)
    different = np.unique(second)
    heads = [time.strftime("%H:%M:%S", convert(value)) for value in different.tolist()]
    which = np.searchsorted(different, second).tolist()
    if digits == 0:
        return [heads[index] for index in which]
    parts = (rest // 10 ** (9 - digits)).tolist()
    return [f"{heads[index]}.{part:0{digits}d}" for index, part in zip(which, parts, strict=True)]


def _second_text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
