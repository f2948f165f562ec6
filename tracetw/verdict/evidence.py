# SPDX-License-Identifier: Apache-2.0
"""Every fact a verdict can rest on, every fact whose absence can prevent one, and the bit of each.

``EVIDENCE`` are the rows of ``facts.FACTS`` that have a sentence. The position in ``EVIDENCE`` is the bit of
``Findings.evidence``, the position in ``MISSING`` the bit of ``Findings.missing``. New names go to the end.
"""

from __future__ import annotations

from functools import lru_cache

from tracetw.verdict.facts import FACTS

__all__ = [
    "EVIDENCE",
    "EVIDENCE_BIT",
    "MISSING",
    "MISSING_BIT",
    "evidence_mask",
    "evidence_names",
    "missing_names",
]

EVIDENCE: dict[str, str] = {fact.name: fact.says for fact in FACTS if fact.says}
"""What each says, in the past tense, about one connection."""

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

EVIDENCE_BIT = {name: 1 << at for at, name in enumerate(EVIDENCE)}
"""Name to its bit in ``Findings.evidence``, 64 bits."""
MISSING_BIT = {name: 1 << at for at, name in enumerate(MISSING)}
"""Name to its bit in ``Findings.missing``, 32 bits."""


def evidence_mask(names: tuple[str, ...]) -> int:
    """Bits of the evidence among ``names``; KeyError for a name that is none."""
    mask = 0
    for name in names:
        mask |= EVIDENCE_BIT[name]
    return mask


@lru_cache(maxsize=4096)
def evidence_names(mask: int) -> tuple[str, ...]:
    """Names of the bits of ``Findings.evidence``, in the order of ``EVIDENCE``."""
    return tuple(name for name, bit in EVIDENCE_BIT.items() if mask & bit)


@lru_cache(maxsize=256)
def missing_names(mask: int) -> tuple[str, ...]:
    """Names of the bits of ``Findings.missing``."""
    return tuple(name for name, bit in MISSING_BIT.items() if mask & bit)
