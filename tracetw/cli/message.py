# SPDX-License-Identifier: Apache-2.0
"""Lines for a person, on stderr."""

from __future__ import annotations

import sys
from contextlib import suppress

__all__ = ["printable", "say"]

_LONGEST = 1000


def printable(text: str) -> str:
    """A text that no terminal acts on, and that is no longer than anybody reads."""
    shown = "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text[:_LONGEST]
    )
    return f"{shown}..." if len(text) > _LONGEST else shown


def say(message: str) -> None:
    """One line as ``tracetw: message``; stderr may be gone. Foreign names may stand in it."""
    with suppress(OSError):
        sys.stderr.write(f"tracetw: {printable(message)}\n")
        sys.stderr.flush()
