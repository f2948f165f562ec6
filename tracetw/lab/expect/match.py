# SPDX-License-Identifier: Apache-2.0
"""Saying what a JSON object must hold, and finding out where it does not."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

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
ANYTHING = Claim("anything", lambda _: True)


@dataclass(frozen=True, slots=True)
class KnownBy:
    """An expectation that depends on what the running kernel shows."""

    shown: str
    expected: Any
    otherwise: Any


class _Everything(Container[str]):
    def __contains__(self, name: object) -> bool:
        return True


EVERYTHING: Container[str] = _Everything()
"""What a kernel shows that lacks nothing."""


def known_by(shown: str, expected: Expected, *, otherwise: Expected = ANYTHING) -> Any:  # noqa: ANN401 (stands for any value)
    """``expected`` where the kernel shows this fact (:mod:`tracetw.lab.expect.kernel`), else ``otherwise``.

    The weaker answer must still be true. It may stand for any value of an expectation, or for a
    whole line, event or count.
    """
    return KnownBy(shown, expected, otherwise)


def resolved(value: Any, shows: Container[str]) -> Any:  # noqa: ANN401 (JSON)
    """``value`` as it is expected of a kernel that shows this."""
    if isinstance(value, KnownBy):
        return resolved(value.expected if value.shown in shows else value.otherwise, shows)
    if isinstance(value, Mapping):
        return {name: resolved(entry, shows) for name, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(resolved(entry, shows) for entry in value)
    return value


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
                found += [] if value is ANYTHING else [f"{place}: absent"]
            else:
                found += differences(value, actual[name], place)
        return found
    return [] if expected == actual else [f"{where}: {actual!r}, not {expected!r}"]
