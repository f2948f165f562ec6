# SPDX-License-Identifier: Apache-2.0
"""What of the kernel's counters can be compared, since a filter lets only some connections through."""

from __future__ import annotations

from dataclasses import dataclass

from tracetw.host.counters import Snapshot

__all__ = ["EVERYTHING", "NOTHING", "Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Counters are those of a network namespace: no finer filter can be held against them.

    Attributes:
        comparable: False when a filter of the kernel side is finer than that.
        netns: inodes of the namespaces that are traced; None for all.
    """

    comparable: bool = True
    netns: frozenset[int] | None = None

    def of(self, snapshot: Snapshot) -> Snapshot:
        """The part of a snapshot."""
        if self.netns is None:
            return snapshot
        return {inode: values for inode, values in snapshot.items() if inode in self.netns}


EVERYTHING = Scope()
NOTHING = Scope(comparable=False)
