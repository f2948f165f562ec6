# SPDX-License-Identifier: Apache-2.0
"""What MPTCP says of a connection, as columns: the members of ``mptcp`` in JSON with that name in front."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows
from tracetw.event.record import (
    F_RST_OUT,
    MP_BACKUP,
    MP_CONNECTION,
    MP_FALLBACK,
    MP_JOIN,
    MP_SUBFLOW,
    MP_WENT_ON,
)
from tracetw.query.arrow import nothing, numbers, texts
from tracetw.sink.mptcp import fastclose, reset_reason, role

_REASON_AT = 16
_TYPES = {
    "mptcp_role": "text",
    "mptcp_token": "uint32",
    "mptcp_subflows": "uint8",
    "mptcp_fastclose": "text",
    "mptcp_connection_went_on": "bool",
    "mptcp_join": "bool",
    "mptcp_backup": "bool",
    "mptcp_reset_reason": "text",
}


def mptcp_columns(rows: Rows) -> dict[str, Any]:
    """Null where MPTCP is not concerned, and where a member does not belong to the role."""
    flags = rows["mptcp_flags"].astype(np.uint32)
    reset = rows["mptcp_reset"].astype(np.uint32)
    if not flags.any():
        return {name: nothing(len(rows), type_) for name, type_ in _TYPES.items()}
    mine = (flags & (MP_CONNECTION | MP_SUBFLOW | MP_FALLBACK)) != 0
    connection = (flags & MP_CONNECTION) != 0
    subflow = mine & ~connection & ((flags & MP_FALLBACK) == 0)
    token, total = rows["mptcp_token"], rows["mptcp_local_id"]
    with_reset = (flags << np.uint32(1)) | ((rows["flags"] & F_RST_OUT) != 0)
    return {
        "mptcp_role": texts(np.where(mine, flags, 0), role),
        "mptcp_token": numbers(token, mine & (token != 0)),
        "mptcp_subflows": numbers(total, connection & (total != 0)),
        "mptcp_fastclose": texts(
            np.where(connection | subflow, with_reset, 0),
            lambda code: fastclose(code >> 1, reset_sent=bool(code & 1)),
        ),
        "mptcp_connection_went_on": _flag(flags, MP_WENT_ON, subflow),
        "mptcp_join": _flag(flags, MP_JOIN, subflow),
        "mptcp_backup": _flag(flags, MP_BACKUP, subflow),
        "mptcp_reset_reason": texts(
            np.where(subflow, flags | reset << np.uint32(_REASON_AT), 0),
            lambda code: reset_reason(code & 0xFFFF, code >> _REASON_AT),
        ),
    }


def _flag(flags: NDArray[np.uint32], bit: int, known: NDArray[np.bool_]) -> Any:  # noqa: ANN401
    return numbers((flags & bit) != 0, known)
