# SPDX-License-Identifier: Apache-2.0
"""Sizes in bytes, as options give them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from tracetw.errors import BadInput

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_LEAST_BUFFER = 1 << 20
_LARGEST = 1 << 60


def parse_size(option: str, text: str) -> int:
    """Bytes, at most 2^60: a number with K, M, G or T. Raises BadInput."""
    match = SIZE.fullmatch(text.strip())
    size = float(match[1]) * _UNITS[match[2].upper()] if match else 0.0
    if not 1 <= size < _LARGEST:
        raise BadInput(
            f"{option} {text[:100]!r} is no size", "give bytes with K, M, G or T, as in 500M"
        )
    return int(size)


def buffer_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--buffer``; the command receives ``buffer``, a text or None."""
    return click.option(
        "--buffer",
        metavar="SIZE",
        help="Memory for what waits for the output. [default: 512M, at most an eighth of memory]",
    )(function)


def parse_buffer(text: str) -> int:
    """Bytes of ``--buffer``. Raises BadInput."""
    size = parse_size("--buffer", text)
    if size < _LEAST_BUFFER:
        raise BadInput(f"--buffer {text} is too small", "give 1M or more")
    return size
