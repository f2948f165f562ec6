# SPDX-License-Identifier: Apache-2.0
"""What the two ends of one connection may not agree on, and what that means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SOON_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One kind.

    Attributes:
        name: identifier.
        text: in words; ``{here}`` was hurt, ``{there}`` is the other end's host.
        mutual: both ends say the same, so each pair is to be counted once.
    """

    name: str
    text: str
    mutual: bool = False


DISAGREEMENTS = (
    Disagreement("none", ""),
    Disagreement(
        "reset-from-between",
        "{here} and {there} both received a RST that neither of them sent: something between them"
        " (a firewall, a load balancer) sent it",
        mutual=True,
    ),
    Disagreement(
        "reset-not-sent",
        "{here} received a RST that {there} did not send, although {there} still had the"
        " connection: something between them sent it",
    ),
    Disagreement(
        "reset-lost",
        "{there} sent a RST that {here} never received: {here} waited in vain until a timer ended"
        " the connection",
    ),
    Disagreement(
        "path-failed",
        "{here} and {there} both timed out: each was there, the path between them was not",
        mutual=True,
    ),
    Disagreement(
        "closed-unheard",
        "{there} had closed, but {here} never heard of it and timed out: the last segments of"
        " {there} were lost",
    ),
    Disagreement(
        "host-vanished",
        "{here} lost connections whose other end is not in any recording, and the recording of"
        " {there} ends before: {there} vanished",
    ),
    Disagreement(
        "still-open-there",
        "{here} lost connections that {there} has not reported: {there} still holds them open, or"
        " its records were lost",
    ),
)
_NUMBER = {one.name: number for number, one in enumerate(DISAGREEMENTS)}


def classify(
    here: NDArray[Any], there: NDArray[Any], vanished: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Index in ``DISAGREEMENTS`` of each pair; 0 where the ends agree.

    Every pair is there twice, once from each end; a mutual one is named once.

    Args:
        here, there: ends of dtype ``ends.ENDPOINT``; a ``there`` with flow 0 is unknown.
        vanished: for an unknown ``there``, whether the recording that should have it had ended.
    """
    known = there["flow"] != 0
    once = (here["source"] < there["source"]) | (
        (here["source"] == there["source"]) & (here["side"] < there["side"])
    )
    kind = np.zeros(len(here), np.uint8)
    rules: tuple[tuple[str, NDArray[np.bool_]], ...] = (
        (
            "reset-from-between",
            known & once & here["reset_in"] & there["reset_in"]
            & ~here["reset_out"] & ~there["reset_out"],
        ),
        (
            "reset-not-sent",
            known & here["reset_in"] & ~there["reset_in"] & ~there["reset_out"]
            # A host without the connection answers with RST too, and no record tells of that.
            & (there["end"] > here["end"] + _SOON_NS),
        ),
        ("reset-lost", known & here["timeout"] & there["reset_out"] & ~there["timeout"]),
        ("path-failed", known & once & here["timeout"] & there["timeout"]),
        (
            "closed-unheard",
            known & here["timeout"] & ~there["timeout"] & (there["end"] < here["end"]),
        ),
        ("host-vanished", ~known & vanished),
        ("still-open-there", ~known & ~vanished & here["timeout"]),
    )  # fmt: skip
    for name, holds in rules:
        kind[(kind == 0) & holds] = _NUMBER[name]
    both = [_NUMBER[one.name] for one in DISAGREEMENTS if one.mutual]
    mirrored = known & ~once & here["reset_in"] & there["reset_in"]
    kind[mirrored & ~np.isin(kind, both) & ~here["reset_out"] & ~there["reset_out"]] = 0
    return kind
