# SPDX-License-Identifier: Apache-2.0
"""What a guest writes, on its way to the user."""

from __future__ import annotations

import os
from typing import TextIO

from scripts.guests.cache import say
from scripts.guests.guest import Ending, Outcome


class Through:
    """Passes on every byte at once to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, data: bytes) -> None:
        """Write it."""
        while data:
            data = data[os.write(self._descriptor, data) :]


class Prefixed:
    """Passes on whole lines, each with the name of its row: no row's summary is taken for the end."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name, self._stream, self._rest = name, stream, b""

    def __call__(self, data: bytes) -> None:
        """Write the lines that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            print(f"{self._name}: {line.decode(errors='replace')}", file=self._stream)
        self._stream.flush()

    def close(self) -> None:
        """What had no end of line."""
        if self._rest:
            self(b"\n")


def explain(name: str, outcome: Outcome) -> None:
    """Say what went wrong, if anything did, and what the console showed."""
    if outcome.ending is Ending.EXIT:
        return
    for line in outcome.console:
        say(f"{name} console: {line}")
    say(f"{name}: {outcome.ending.value}, after {outcome.seconds:.0f} s")
