# SPDX-License-Identifier: Apache-2.0
"""Lines for a person, on stderr, which may be gone. Foreign names may stand in them."""

from __future__ import annotations

import sys
from contextlib import suppress

from tracetw.text import ELLIPSIS, visible, visible_lines

_LONGEST = 1000
"""Characters that anybody reads."""


def say(message: str) -> None:
    """One line as ``tracetw: message``."""
    shown = visible(message[:_LONGEST]) + ELLIPSIS * (len(message) > _LONGEST)
    _write(f"tracetw: {shown}")


def show(lines: str) -> None:
    """One line, or several, as they are."""
    _write(visible_lines(lines))


def _write(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201
