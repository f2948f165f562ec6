# SPDX-License-Identifier: Apache-2.0
"""Scenarios and their outcomes as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from textwrap import fill
from typing import Any

from tracetw.lab.expect.match import Claim, KnownBy
from tracetw.lab.expect.scenario import Scenario, as_lines
from tracetw.lab.net.wire import matches
from tracetw.lab.play.check import sums
from tracetw.lab.play.ladder import ladder, rows
from tracetw.lab.play.outcome import Outcome
from tracetw.text import hanging

_WIDTH = 80
_SHOWN = ("verdict", "form", "first_close", "closed_by", "time_wait", "error")
_NAME = 12


def listing(scenarios: Sequence[Scenario]) -> str:
    """A table of scenarios, the claim below the name."""
    lines = []
    for scenario in scenarios:
        versions = "v4 v6" if len(scenario.families) > 1 else f"v{scenario.families[0]}"
        verdicts = ", ".join(scenario.verdicts()) or "-"
        lines.append(f"{scenario.name:<34} {scenario.seconds:>4.1f} s  {versions:<6} {verdicts}")
        lines.append(fill(scenario.claim, _WIDTH, initial_indent="  ", subsequent_indent="  "))
    return "\n".join(lines)


def scenario_json(scenario: Scenario) -> dict[str, Any]:
    """A scenario as data, conditions in words."""
    return {
        "name": scenario.name,
        "claim": scenario.claim,
        "seconds": scenario.seconds,
        "families": list(scenario.families),
        "nat": scenario.nat,
        "verdicts": list(scenario.verdicts()),
        "sysctls": _plain(scenario.sysctls),
        "expected": {end: _plain(as_lines(getattr(scenario, end))) for end in ("a", "b")},
        "events": _plain(scenario.events),
        "wire": _plain(scenario.wire),
        "order": list(scenario.order),
        "counters": _plain(scenario.counters),
        "timewait": _plain(scenario.timewait),
        "differs": {
            end: {name: asdict(why) for name, why in values.items()}
            for end, values in scenario.differs.items()
        },
    }


def outcome_json(outcome: Outcome) -> str:
    """One line: the scenario, and what was seen."""
    document = {
        "scenario": scenario_json(outcome.job.scenario),
        "family": outcome.job.family,
        "round": outcome.job.round,
        "passed": outcome.passed,
        "skipped": outcome.skipped,
        "problems": [asdict(problem) for problem in outcome.problems],
        "spoiled": outcome.spoiled,
        "seconds": round(outcome.seconds, 3),
        "namespaces": outcome.namespaces,
        "pcap": str(outcome.pcap) if outcome.pcap else None,
        "steps": [asdict(step) for step in outcome.steps],
        "lines": outcome.lines,
        "events": outcome.events,
        "counters": {
            end: {name: value for name, value in values.items() if value}
            for end, values in outcome.counters.items()
        },
        "segments": [
            {**asdict(segment), "flags": sorted(segment.flags)} for segment in outcome.segments
        ],
    }
    return json.dumps(document)


def verdict_of(outcome: Outcome) -> str:
    """PASS, FAIL or SKIP."""
    if outcome.skipped is not None:
        return "SKIP"
    return "PASS" if outcome.passed else "FAIL"


def outcome_text(outcome: Outcome) -> str:
    """The whole story: packets, what was expected, what was seen, and what is wrong."""
    scenario = outcome.job.scenario
    lines = [
        f"{verdict_of(outcome)} {outcome.job.title} in {outcome.seconds:.1f} s",
        fill(scenario.claim, _WIDTH, initial_indent="  ", subsequent_indent="  "),
    ]
    if outcome.skipped is not None:
        return "\n".join([*lines, _entry("skipped", outcome.skipped), ""])
    lines += ["", *ladder(rows(outcome)), ""]
    for end in ("a", "b"):
        lines += _end(outcome, end)
    lines.append(_entry("wire", ", ".join(_wire(outcome))))
    for end, counted in scenario.counters.items():
        seen = outcome.counters.get(end, {})
        texts = [f"{name} {seen.get(name)} ({_words(wanted)})" for name, wanted in counted.items()]
        lines.append(_entry(f"kernel {end.upper()}", ", ".join(texts)))
    for end, wanted in scenario.timewait.items():
        lines.append(_entry(f"timewait {end.upper()}", _facts(wanted)))
    for values in scenario.differs.values():
        lines += [_entry("differs", f"{name}: {why.because}") for name, why in values.items()]
    lines += [_entry("kept", ", ".join(outcome.namespaces.values()))] if outcome.kept else []
    lines += [_entry("capture", str(outcome.pcap))] if outcome.pcap else []
    lines += [_entry(f"WRONG {p.kind.value}", p.text) for p in outcome.problems]
    return "\n".join([*lines, ""])


def _facts(wanted: Mapping[str, Any]) -> str:
    """What ``tracetw timewait`` must say, without its nesting."""
    found = [f"{name} {_words(value)}" for part in wanted.values() for name, value in part.items()]
    return ", ".join(found)


def _end(outcome: Outcome, end: str) -> Iterator[str]:
    expected = as_lines(getattr(outcome.job.scenario, end))
    if not expected:
        yield _entry(f"{end.upper()} expected", "no line")
    for said, times in Counter(map(essence, expected)).items():
        yield _entry(f"{end.upper()} expected", _times(times) + said)
    seen = outcome.lines.get(end, ())
    for (said, why), times in Counter((essence(line), line["why"]) for line in seen).items():
        yield _entry("  seen", _times(times) + said)
        yield _entry("  why", why)
    counted = outcome.counters.get(end, {})
    added = {name: value for name, value in sums(outcome.lines.get(end, ())).items() if value}
    if added and counted:
        texts = [f"{name} {value} (kernel {counted.get(name)})" for name, value in added.items()]
        yield _entry("  adds up", ", ".join(texts))


def _times(number: int) -> str:
    return "" if number == 1 else f"{number} times: "


def essence(line: Mapping[str, Any]) -> str:
    """What a ``close`` line says first: verdict, form, who closed."""
    return ", ".join(
        f"{name} {_words(line[name])}" if name != "verdict" else _words(line[name])
        for name in _SHOWN
        if line.get(name) is not None
    )


def _wire(outcome: Outcome) -> Iterator[str]:
    for pattern, wanted in outcome.job.scenario.wire.items():
        seen = sum(matches(pattern, segment) for segment in outcome.segments)
        yield f"{pattern}: {seen} ({_words(wanted)})"


def _words(value: object) -> str:
    return value.words if isinstance(value, Claim) else str(value)


def _plain(value: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, Claim):
        return value.words
    if isinstance(value, KnownBy):
        return {
            "known_by": value.shown,
            "expected": _plain(value.expected),
            "otherwise": _plain(value.otherwise),
        }
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value


def _entry(name: str, text: str) -> str:
    return hanging(f"  {name:<{_NAME}} ", text, _WIDTH)
