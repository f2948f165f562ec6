# SPDX-License-Identifier: Apache-2.0
"""Values computed once: the same names and groups come back in every batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Remembered(dict[_K, _V], Generic[_K, _V]):
    """A dictionary that computes what it does not have, and forgets all when it grows too large.

    Args:
        compute: from key to value.
        limit: number of entries kept.
    """

    def __init__(self, compute: Callable[[_K], _V], limit: int = 4096) -> None:
        super().__init__()
        self._compute = compute
        self._limit = limit

    def __missing__(self, key: _K) -> _V:
        if len(self) >= self._limit:
            self.clear()
        value = self[key] = self._compute(key)
        return value
