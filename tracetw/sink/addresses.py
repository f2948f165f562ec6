# SPDX-License-Identifier: Apache-2.0
"""Addresses in JSON: an IPv4 address is two columns of 16 bits, each text from a table; an IPv6 one is text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.sink.template import Slot, text

_IPV4 = 4
_HALF = 16


def address_slot(name: str, family: int) -> Slot:
    """The address ``name`` (``laddr`` or ``raddr``) of records of this ``fields.families``."""
    return Slot('"%q.%q"', (f"{name}_high", f"{name}_low")) if family == _IPV4 else text(name)


def address_columns(rows: NDArray[Any], families: NDArray[np.uint8]) -> dict[str, Any]:
    """What the slots of both addresses need.

    Args:
        rows: n records.
        families: theirs, of ``fields.families``.
    """
    found: dict[str, Any] = {}
    six = np.flatnonzero(families != _IPV4)
    for name in ("laddr", "raddr"):
        packed = fields.ipv4_packed(rows, name)
        found[f"{name}_high"], found[f"{name}_low"] = packed >> _HALF, packed & 0xFFFF
        if len(six):
            found[name] = [b""] * len(rows)
            for at, address in zip(
                six.tolist(), fields.address_texts(rows[six], name), strict=True
            ):
                found[name][at] = f'"{address}"'.encode()
    return found
