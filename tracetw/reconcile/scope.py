# SPDX-License-Identifier: Apache-2.0
"""What of the kernel's counters can be compared, for the filter and for the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tracetw.host.counters import Snapshot


@dataclass(frozen=True, slots=True)
class Scope:
    """Counters are those of a network namespace: no finer filter can be held against them.

    Attributes:
        comparable: False when a filter of the kernel side is finer than that.
        netns: inodes of the namespaces that are traced; None for all.
        tw_at_birth: False where the kernel counts TIME_WAIT when it expires (before 6.0: its
            ``struct inet_timewait_sock`` has a member ``tw_kill``).
        hidden: counter to what of it this kernel does not let a tracer see.
    """

    comparable: bool = True
    netns: frozenset[int] | None = None
    tw_at_birth: bool = True
    hidden: Mapping[str, str] = field(default_factory=dict)

    def of(self, snapshot: Snapshot) -> Snapshot:
        """The part of a snapshot."""
        if self.netns is None:
            return snapshot
        return {inode: values for inode, values in snapshot.items() if inode in self.netns}


EVERYTHING = Scope()
NOTHING = Scope(comparable=False)
