# SPDX-License-Identifier: Apache-2.0
"""The one way to say something on standard error."""

from __future__ import annotations

import sys
from contextlib import suppress

__all__ = ["say"]


def say(line: str) -> None:
    """One line, or several, for the user; stderr may be gone."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201
