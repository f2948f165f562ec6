# SPDX-License-Identifier: Apache-2.0
"""Every fact a verdict can rest on, and the bit of each.

``EVIDENCE`` are the rows of ``facts.FACTS`` that have a sentence. The position in it is the bit of
``Findings.evidence``. New names go to the end.
"""

from __future__ import annotations

from functools import lru_cache

from tracetw.verdict.facts import FACTS

EVIDENCE: dict[str, str] = {fact.name: fact.says for fact in FACTS if fact.says}
"""What each says, in the past tense, about one connection."""

EVIDENCE_BIT = {name: 1 << at for at, name in enumerate(EVIDENCE)}
"""Name to its bit in ``Findings.evidence``, 64 bits."""


@lru_cache(maxsize=4096)
def evidence_names(mask: int) -> tuple[str, ...]:
    """Names of the bits of ``Findings.evidence``, in the order of ``EVIDENCE``."""
    return tuple(name for name, bit in EVIDENCE_BIT.items() if mask & bit)
