# SPDX-License-Identifier: Apache-2.0
"""What the audit knows of one network namespace. Pure data, as the child that was inside sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tracetw.host.firewall import Tracking
from tracetw.host.quiet import AcceptQueue, Idle, Quiet
from tracetw.host.routes import RtoMin


@dataclass(frozen=True, slots=True)
class Facts:
    """One network namespace.

    Attributes:
        sysctls: full name to its numbers; what the kernel or the namespace lacks is absent.
        counters: groups Tcp and TcpExt, since the namespace began.
        sockets: of /proc/net/sockstat: ``tw``, ``orphan``, ``inuse``.
        rto_mins: routes with a shortest timeout of their own.
        listeners: with their queues.
        quiet: idle connections; None if they could not be listed.
        tracking: None without connection tracking.
        missing: what could not be read, and why.
    """

    sysctls: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    sockets: Mapping[str, int] = field(default_factory=dict)
    rto_mins: tuple[RtoMin, ...] = ()
    listeners: tuple[AcceptQueue, ...] = ()
    quiet: Quiet | None = None
    tracking: Tracking | None = None
    missing: tuple[str, ...] = ()

    def one(self, name: str) -> int | None:
        """The number of a sysctl (the prefix ``net.ipv4.`` is optional); None where there is none."""
        values = self.sysctls.get(name if "." in name else f"net.ipv4.{name}", ())
        return values[0] if values else None

    def ports(self) -> int | None:
        """How many local ports connect() may take, reserved ones included."""
        values = self.sysctls.get("net.ipv4.ip_local_port_range", ())
        return values[1] - values[0] + 1 if len(values) == len(("low", "high")) else None

    def plain(self) -> dict[str, Any]:
        """For :meth:`of`: what JSON can carry."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Facts:
        """From :meth:`plain`, after JSON. Raises KeyError, TypeError or ValueError for anything else."""
        quiet, tracking = plain["quiet"], plain["tracking"]
        if quiet is not None:
            known = Quiet(*quiet)
            quiet = known._replace(longest=tuple(Idle(*idle) for idle in known.longest))
        return cls(
            sysctls={name: tuple(values) for name, values in plain["sysctls"].items()},
            counters=dict(plain["counters"]),
            sockets=dict(plain["sockets"]),
            rto_mins=tuple(RtoMin(*route) for route in plain["rto_mins"]),
            listeners=tuple(AcceptQueue(*each) for each in plain["listeners"]),
            quiet=quiet,
            tracking=None if tracking is None else Tracking(*tracking),
            missing=tuple(plain["missing"]),
        )
