# SPDX-License-Identifier: Apache-2.0
"""Members of the ``close`` object that few rows have: segments that were refused, who sent an ICMP error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.names import KernelNames
from tracetw.event.record import T_ICMP
from tracetw.text import json_line
from tracetw.verdict.explain import refusal_reasons

_NULL = b"null"
MOST_REFUSED = 255
"""Counted no further: this, or more."""


def columns(rows: NDArray[Any], names: KernelNames) -> dict[str, list[bytes]]:
    """JSON texts of each row, of the members that some row has. Python for these rows alone."""
    found = {}
    refused = np.flatnonzero(rows["refused"])
    if len(refused):
        found["refused"] = [_NULL] * len(rows)
        reasons = refusal_reasons(names)
        for at in refused.tolist():
            number, reason = int(rows["refused"][at]), int(rows["refused_reason"][at])
            value = {
                "segments": number if number < MOST_REFUSED else None,
                "reason": reasons[reason] if reason else None,
            }
            found["refused"][at] = json_line(value).encode()
    told = np.flatnonzero(rows["traits"] & T_ICMP)
    if len(told):
        found["icmp_from"] = [_NULL] * len(rows)
        for at, address in zip(
            told.tolist(), fields.ipv4_texts(rows["icmp_from"][told]), strict=True
        ):
            found["icmp_from"][at] = json_line(address).encode()
    return found
