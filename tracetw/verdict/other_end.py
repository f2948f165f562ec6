# SPDX-License-Identifier: Apache-2.0
"""Both ends of a connection in one stream: who sent the RST knows why, and the other end says so.

The sender's record comes first as a rule: its socket is gone when the RST leaves, while the receiver waits for its
application. Resets that come in storms (SO_LINGER 0, unread data) are not remembered: the receiver sees what they are.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows
from tracetw.verdict.findings import Findings
from tracetw.verdict.hinted import RST_RECEIVED
from tracetw.verdict.hints import HINT_BIT
from tracetw.verdict.latest import Latest
from tracetw.verdict.taxonomy import RESET_DIRECTIONS, VERDICT_INDEX

_End: TypeAlias = tuple[bytes, int, bytes, int, int]

_KEPT = 512
_NEAR_NS = 1_000_000_000
_AF_INET = 2
_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK = bytes(15) + b"\x01"
_SENT = RESET_DIRECTIONS.index("sent")
_BIT = np.uint32(HINT_BIT["peer-record"])
_BULK = np.zeros(256, np.bool_)
_BULK[[VERDICT_INDEX["abort-linger"], VERDICT_INDEX["abort-unread"]]] = True


class OtherEnds:
    """Senders of RST that were seen last."""

    def __init__(self) -> None:
        # From the receiver's point of view: its address and port, then the sender's; the namespace of a loopback.
        self._senders: Latest[_End, tuple[int, int]] = Latest(_KEPT)

    def add(
        self, rows: Rows, findings: Findings, ended: NDArray[np.int64], hints: NDArray[np.uint32]
    ) -> None:
        """Mark those whose RST is explained by a record that came before; sets ``peer_verdict`` of theirs."""
        senders = np.flatnonzero((findings.reset_direction == _SENT) & ~_BULK[findings.verdict])
        senders = senders[rows["rport"][senders] != 0]
        if not len(senders) and not self._senders:
            return
        receivers = self._of_known_ports(
            rows, np.flatnonzero(findings.form == RST_RECEIVED), senders
        )
        waiting = {*receivers.tolist()}
        for at in sorted([*senders.tolist(), *waiting]):
            row = rows[at]
            local, remote = _address(row, "laddr"), _address(row, "raddr")
            ports = int(row["lport"]), int(row["rport"])
            if at not in waiting:
                key = (remote, ports[1], local, ports[0], _home(row, remote))
                self._senders.put(key, (int(findings.verdict[at]), int(ended[at])))
                continue
            verdict, when = self._senders.get(
                (local, ports[0], remote, ports[1], _home(row, local)), (-1, 0)
            )
            if verdict >= 0 and abs(int(ended[at]) - when) <= _NEAR_NS:
                findings.peer_verdict[at] = verdict
                hints[at] |= _BIT

    def _of_known_ports(
        self, rows: Rows, receivers: NDArray[np.intp], senders: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """Those of a pair of ports that a sender has."""
        known = np.array([end[1] << 16 | end[3] for end in self._senders], np.uint32)
        known = np.concatenate([known, _pairs(rows, senders, "rport", "lport")])
        chosen: NDArray[np.intp] = receivers[
            np.isin(_pairs(rows, receivers, "lport", "rport"), known)
        ]
        return chosen


def _pairs(rows: Rows, which: NDArray[np.intp], first: str, second: str) -> NDArray[np.uint32]:
    pairs: NDArray[np.uint32] = rows[first][which].astype(np.uint32) << 16 | rows[second][which]
    return pairs


def _home(row: np.void, address: bytes) -> int:
    """Every namespace has its own loopback; 0 for other addresses."""
    loopback = address == _LOOPBACK or address.startswith(_MAPPED + b"\x7f")
    return int(row["netns"]) if loopback else 0


def _address(row: np.void, column: str) -> bytes:
    """As IPv6 has it."""
    raw: bytes = row[column].tobytes()
    return _MAPPED + raw[:4] if row["family"] == _AF_INET else raw
