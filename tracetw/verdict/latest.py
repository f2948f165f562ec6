# SPDX-License-Identifier: Apache-2.0
"""A bounded memory: what was not set for longest is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Latest(OrderedDict[_K, _V], Generic[_K, _V]):
    """A dictionary of at most ``most`` keys; set them by ``put``."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def put(self, key: _K, value: _V) -> None:
        """Set, and forget another one if there are too many."""
        self[key] = value
        self.move_to_end(key)
        if len(self) > self._most:
            self.popitem(last=False)
