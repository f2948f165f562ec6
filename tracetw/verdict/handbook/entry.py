# SPDX-License-Identifier: Apache-2.0
"""What an entry of the handbook says. Texts are ASCII; code of more than one word is in backticks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Event", "Folklore", "OnCall", "Symptom"]


@dataclass(frozen=True, slots=True)
class Folklore:
    """Something that is believed, and what today's Linux does instead, with where it does it."""

    believed: str
    fact: str


@dataclass(frozen=True, slots=True)
class OnCall:
    """What the taxonomy leaves out of a verdict: how it comes about in production.

    Attributes:
        shown_by: the lab's scenario in which one end gets this verdict.
        production: what typically causes it, one sentence or two each.
        change: settings with values and what they cost, one each.
        sure: what is known and what is concluded; when the end is undetermined instead.
        folklore: what people get wrong about it.
    """

    shown_by: str
    production: tuple[str, ...]
    change: tuple[str, ...]
    sure: str
    folklore: tuple[Folklore, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A ``timewait`` or ``drop`` event.

    Attributes:
        name: as in the output.
        meaning, mechanism: as of a verdict.
        shown_by: the lab's scenario in which it occurs.
        production: what it says about production, and what to change.
        folklore: what people get wrong about it.
    """

    name: str
    meaning: str
    mechanism: str
    shown_by: str
    production: str
    folklore: tuple[Folklore, ...] = ()


@dataclass(frozen=True, slots=True)
class Symptom:
    """What somebody sees who has no verdict yet, and the verdicts it may be."""

    seen: str
    verdicts: tuple[str, ...]
    look: str = ""
