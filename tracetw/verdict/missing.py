# SPDX-License-Identifier: Apache-2.0
"""Every fact whose absence can prevent a verdict, and the bit of each.

The position in ``MISSING`` is the bit of ``Findings.missing``. New names go to the end.
"""

from __future__ import annotations

from functools import lru_cache

# name -> what would have had to be known
MISSING: dict[str, str] = {
    "rst-flags": "the flags or timestamp of the RST received, while something of ours was unanswered",
    "reset-answer": "whether the kernel answered the segment with a RST",
    "reset-sent": "the RST that this kind of close sends",
    "mini-socket-end": "how the timewait socket in FIN_WAIT2 ended",
    "peer-fin": "the peer's FIN: no socket was left to receive it (TIME_WAIT bucket overflow)",
    "unanswered-segment": "a segment or probe whose answer could have timed out",
    "retransmissions": "retransmissions of the segment that timed out",
    "netns-state": "whether the network namespace was gone or memory ran out",
    "close-event": "the event of the close itself",
    "cause": "any sign of what closed the socket",
}

MISSING_BIT = {name: 1 << at for at, name in enumerate(MISSING)}
"""Name to its bit in ``Findings.missing``, 32 bits."""


@lru_cache(maxsize=256)
def missing_names(mask: int) -> tuple[str, ...]:
    """Names of the bits of ``Findings.missing``."""
    return tuple(name for name, bit in MISSING_BIT.items() if mask & bit)
