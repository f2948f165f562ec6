# SPDX-License-Identifier: Apache-2.0
"""Lines for a person, on stderr."""

from __future__ import annotations

import sys
from contextlib import suppress

from tracetw.text import ELLIPSIS, visible

__all__ = ["say"]

_LONGEST = 1000
"""Characters that anybody reads."""


def say(message: str) -> None:
    """One line as ``tracetw: message``; stderr may be gone. Foreign names may stand in it."""
    shown = visible(message[:_LONGEST]) + ELLIPSIS * (len(message) > _LONGEST)
    with suppress(OSError):
        sys.stderr.write(f"tracetw: {shown}\n")
        sys.stderr.flush()
