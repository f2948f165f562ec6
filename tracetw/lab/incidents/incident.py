# SPDX-License-Identifier: Apache-2.0
"""An incident: what is played, who records it, and the truth of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from tracetw.lab.incidents.stage import Stage

Act: TypeAlias = "Callable[[Stage], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What the load knows of one incident. Times: nanoseconds since 1970, by the clock of this machine.

    Attributes:
        cause: code of the cause as a report must name it.
        at_ns: when it was done.
        until_ns: when it was undone; None: never.
        host: the recorded host that it is about; None if that one was not recorded.
        address, port: of the service concerned, as its clients name it.
        process: name of the process that did it or died; "" none.
        pid: its number, or None.
        reach: connections by what their application saw: ``reset``, ``refused``, ``timed_out``,
            ``closed`` (FIN in place of an answer), ``no_port``.
    """

    cause: str
    at_ns: int
    until_ns: int | None
    host: str | None
    address: str
    port: int
    process: str = ""
    pid: int | None = None
    reach: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedIncident:
    """One incident.

    Attributes:
        name: for the command line, in words with hyphens.
        claim: what happens, in one sentence.
        act: does it, between two stretches of good traffic.
        hosts: the recorded hosts, name to letter (``a`` calls, ``b`` serves): a recorder for each.
        ahead_ms: by name of a recorded host: how far its clock is ahead.
        nat: a router that translates addresses stands between.
        shop: letter of the host that serves the good traffic.
        caller: letter of the host that calls.
        sysctls: by host: settings of ``net.ipv4``.
        needs: says why this machine cannot play it, None if it can.
    """

    name: str
    claim: str
    act: Act
    hosts: Mapping[str, str] = field(
        default_factory=lambda: {"web-1": "a", "api-1": "b"}  # one that calls, one that serves
    )
    ahead_ms: Mapping[str, int] = field(default_factory=dict)
    nat: bool = False
    shop: str = "b"
    caller: str = "a"
    sysctls: Mapping[str, Mapping[str, int | str]] = field(default_factory=dict)
    needs: Callable[[], str | None] | None = None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            name: getattr(self, name)
            for name in ("name", "claim", "hosts", "ahead_ms", "nat", "sysctls")
        }
