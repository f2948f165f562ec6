# SPDX-License-Identifier: Apache-2.0
"""What one ``tracetw trace`` was asked to do, parsed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from tracetw.stream.filter import Filter

__all__ = ["TraceOptions"]


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Everything that the command line says.

    Attributes:
        filter: which connections.
        output: ``table``, ``wide`` or ``json``.
        events: names of the single events to report besides the closes: any of ``retransmit``,
            ``timewait``, ``drop`` and ``transition``.
        duration: seconds to trace; None until interrupted or until the command ends.
        ready_fd: descriptor that gets one byte when every hook is attached.
        command: program and arguments to run under the trace; empty for none.
        color: use ANSI colours.
        utc: times of the table in UTC; local time else. JSON is always UTC.
        out: where the lines go.
        max_connections: live connections to have room for; None takes what suits the memory.
    """

    filter: Filter
    output: str
    events: frozenset[str]
    duration: float | None
    ready_fd: int | None
    command: tuple[str, ...]
    color: bool
    utc: bool
    out: BinaryIO
    max_connections: int | None = None

    @property
    def transitions(self) -> bool:
        """State transitions are wanted."""
        return "transition" in self.events
