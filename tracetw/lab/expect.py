# SPDX-License-Identifier: Apache-2.0
"""Saying what a JSON object must hold, and finding out where it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = [
    "SOME",
    "Claim",
    "Expected",
    "accepted",
    "at_least",
    "between",
    "differences",
    "one_of",
    "path",
]

# A mapping is a subset, a Claim a test of its own, anything else equality.
Expected: TypeAlias = object


@dataclass(frozen=True, slots=True)
class Claim:
    """A condition on a value, with the words for when it does not hold."""

    words: str
    holds: Callable[[Any], bool]


def between(low: float, high: float) -> Claim:
    """A number in the closed interval."""
    return Claim(f"{low}..{high}", lambda value: value is not None and low <= value <= high)


def at_least(low: float) -> Claim:
    """A number not below ``low``."""
    return Claim(f">= {low}", lambda value: value is not None and value >= low)


def one_of(*allowed: object) -> Claim:
    """One of several values."""
    return Claim(f"one of {allowed}", lambda value: value in allowed)


def path(*names: str) -> Claim:
    """The states of a connection, oldest first, each with a time that does not go back."""

    def holds(value: Any) -> bool:  # noqa: ANN401 (JSON)
        times = [entry["at_ms"] for entry in value]
        return [entry["state"] for entry in value] == list(names) and times == sorted(times)

    return Claim(" > ".join(names), holds)


def accepted(*names: str) -> Claim:
    """As :func:`path` from ESTABLISHED on, for a listener's child: SYN_RECV may come before."""
    shorter = path("ESTABLISHED", *names)
    longer = path("SYN_RECV", "ESTABLISHED", *names)
    return Claim(shorter.words, lambda value: shorter.holds(value) or longer.holds(value))


SOME = Claim("something", bool)


def differences(expected: Expected, actual: Any, where: str = "") -> list[str]:  # noqa: ANN401 (JSON)
    """One sentence for each place where ``actual`` is not as ``expected``; empty when all is."""
    if isinstance(expected, Claim):
        return [] if expected.holds(actual) else [f"{where}: {actual!r}, not {expected.words}"]
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping):
            return [f"{where}: {actual!r}, not an object"]
        found = []
        for name, value in expected.items():
            place = f"{where}.{name}".lstrip(".")
            if name not in actual:
                found.append(f"{place}: absent")
            else:
                found += differences(value, actual[name], place)
        return found
    return [] if expected == actual else [f"{where}: {actual!r}, not {expected!r}"]
