# SPDX-License-Identifier: Apache-2.0
"""What is closed when its ``with`` statement ends, however that ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

_Self = TypeVar("_Self", bound="Closing")


class Closing(ABC):
    """A context manager of itself."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """Let go of what it holds, and end what it started."""

    def __enter__(self: _Self) -> _Self:  # noqa: PYI019 - typing.Self came with 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
