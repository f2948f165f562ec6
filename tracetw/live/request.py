# SPDX-License-Identifier: Apache-2.0
"""What one trace was asked to do, parsed and checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from tracetw.live.backlog import default_bytes
from tracetw.stream.filter import Filter
from tracetw.stream.known import Ask


@dataclass(frozen=True, slots=True)
class Request:
    """What to trace and for how long; where to is the sink's.

    Attributes:
        filter: which connections.
        events: names of the single events to report besides the closes: any of ``retransmit``,
            ``timewait``, ``drop`` and ``transition``.
        duration: seconds to trace; None until interrupted or until the command ends.
        ready_fd: descriptor that gets one byte when every hook is attached.
        command: program and arguments to run under the trace; empty for none.
        max_connections: live connections to have room for; None takes what suits the memory.
        buffer_bytes: records that may wait in memory for the output.
        ask: names of addresses that /etc/hosts does not have; does not wait for them.
    """

    filter: Filter = Filter()  # noqa: RUF009 (frozen)
    events: frozenset[str] = frozenset()
    duration: float | None = None
    ready_fd: int | None = None
    command: tuple[str, ...] = ()
    max_connections: int | None = None
    buffer_bytes: int = field(default_factory=default_bytes)
    ask: Ask | None = None
