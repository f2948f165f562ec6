# SPDX-License-Identifier: Apache-2.0
"""How the tests of a run went, out of the report that pytest writes (--junit-xml)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Counts:
    """Tests by what became of them. What could not be counted at all is an error."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    complaint: str = ""
    left_out: bool = False

    @property
    def good(self) -> bool:
        """Something passed and nothing went wrong, or it was left out, and ``complaint`` says why."""
        return (self.passed > 0 or self.left_out) and not self.failed and not self.errors

    def closing(self, seconds: float) -> str:
        """As the last line of pytest."""
        names = ("failed", "passed", "skipped", "errors")
        numbers = [(getattr(self, name), name) for name in names]
        words = [f"{number} {name}" for number, name in numbers if number]
        text = f" {', '.join(words) or 'no tests ran'} in {seconds:.2f}s "
        return text.center(80, "=")


def left_out(reason: str) -> Counts:
    """Nothing was run, and that is no failure."""
    return Counts(skipped=1, complaint=f"left out: {reason}", left_out=True)


def read(path: Path, status: int) -> Counts:
    """What the report says; a run that failed without a failed test has an error."""
    try:
        suites = list(ET.parse(path).getroot().iter("testsuite"))  # noqa: S314 - our own file
        counts = total(map(_suite, suites))
    except (OSError, ET.ParseError, KeyError, ValueError) as error:
        return Counts(errors=1, complaint=f"no report of the tests: {error}")
    if status and not counts.failed and not counts.errors:
        return total([counts, Counts(errors=1, complaint=f"exit status {status}")])
    if not counts.passed and not counts.failed and not counts.errors:
        return total([counts, Counts(errors=1, complaint="no test passed")])
    return counts


def _suite(suite: ET.Element) -> Counts:
    tests, failed, errors, skipped = (
        int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")
    )
    return Counts(max(0, tests - failed - errors - skipped), failed, errors, skipped)


def total(counts: Iterable[Counts]) -> Counts:
    """All together."""
    listed = list(counts)
    return Counts(
        sum(each.passed for each in listed),
        sum(each.failed for each in listed),
        sum(each.errors for each in listed),
        sum(each.skipped for each in listed),
        "; ".join(each.complaint for each in listed if each.complaint),
    )
