# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/gen-scenarios``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from scripts.checkout.made import ROOT, parser, settle
from tracetw.lab.catalogue import FAMILIES
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.vagrant import catalogue as machines

__all__ = ["main"]

TARGET = ROOT / "docs" / "scenarios.md"
BETWEEN = """
# Between machines

`tracetw lab run NAME --on vagrant` plays these ([labs between machines](vagrant.md)), and those above that need nothing of
a network namespace.
"""
HEAD = """\
<!-- Generated from tracetw/lab/catalogue.py by scripts/gen-scenarios. Change that, not this. -->

# Scenarios

Every scenario of `tracetw lab run NAME`, by family, with its claim, the verdicts of its two ends and the IP
versions ([what a scenario must show](labs.md#what-a-scenario-must-show)).
"""


def row(scenario: Scenario) -> str:
    """One row of a family's table."""
    versions = " ".join(f"v{family}" for family in scenario.families)
    verdicts = ", ".join(f"[`{code}`](verdicts/{code}.md)" for code in scenario.verdicts())
    return f"| `{scenario.name}` | {scenario.claim} | {verdicts} | {versions} |"


def document() -> Iterator[str]:
    """The lines of the file."""
    yield HEAD.rstrip("\n")
    yield from tables(FAMILIES)
    yield BETWEEN.rstrip("\n")
    yield from tables(machines.FAMILIES)


def tables(families: Mapping[str, Sequence[Scenario]]) -> Iterator[str]:
    """A table for each family."""
    for title, scenarios in families.items():
        yield f"\n## {title}\n"
        yield "| scenario | claim | verdicts | IP |\n|---|---|---|---|"
        yield from map(row, scenarios)


def main() -> int:
    """Exit status."""
    arguments = parser(
        "gen-scenarios",
        "Writes docs/scenarios.md from the catalogue of the lab, the only list of scenarios.",
    ).parse_args()
    text = "\n".join(document()) + "\n"
    return settle("gen-scenarios", {TARGET: text}, check=arguments.check)
