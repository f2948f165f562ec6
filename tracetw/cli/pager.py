# SPDX-License-Identifier: Apache-2.0
"""Long text on a terminal goes through the user's pager, as with git and systemctl."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import click

__all__ = ["pager_option", "show"]

Command: TypeAlias = Callable[..., Any]

_LESS = "FRX"
"""As git: leave at once when it fits, let colours through, leave the text on the screen."""


def pager_option(function: Command) -> Command:
    """``--no-pager``; the command receives ``pager``."""
    return click.option(
        "--pager/--no-pager",
        default=True,
        help="Long text through $PAGER on a terminal (less, if it is not set).",
    )(function)


def show(text: str, *, pager: bool) -> None:
    """Print a text that ends in a newline, through the pager if it is longer than the terminal."""
    if pager and _too_long(text):
        os.environ.setdefault("LESS", _LESS)
        click.echo_via_pager(text.removesuffix("\n"))
        return
    sys.stdout.write(text)


def _too_long(text: str) -> bool:
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    if os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("PAGER") in {"", "cat"}:
        return False
    return text.count("\n") >= shutil.get_terminal_size().lines
