# SPDX-License-Identifier: Apache-2.0
"""Parts of sentences."""

from __future__ import annotations

from tracetw.text import decoded
from tracetw.timewait.look import Look
from tracetw.timewait.owners import TimewaitOwner


def place(look: Look, netns: int) -> str:
    """`` in namespace web``, or nothing where there is only one to speak of."""
    if len(look.snapshot.parts) <= 1:
        return ""
    space = look.snapshot.spaces.get(netns)
    return f" in namespace {space.name if space and space.name else netns}"


def process(owner: TimewaitOwner | None) -> str:
    """`` of nginx (123)``, or nothing."""
    if owner is None or (owner.comm is None and owner.pid is None):
        return ""
    name = "?" if owner.comm is None else decoded(owner.comm)
    return f" of {name}" if owner.pid is None else f" of {name} ({owner.pid})"


def sockets(count: int, one: str = "socket") -> str:
    """``1 socket``, ``1,234 sockets``; ``one`` is what a single one is called."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"
