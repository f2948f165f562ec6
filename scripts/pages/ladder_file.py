# SPDX-License-Identifier: Apache-2.0
"""One run of a scenario as a small file in docs/ladders: segments, steps, lines, counters.

What differs from run to run and says nothing is replaced: clock, host, namespace, addresses, ports,
process, cgroup. What was measured stays as it was: intervals, counts, sentences, evidence.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from scripts.checkout.made import ROOT
from tracetw.host.clock import rfc3339
from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.expect.match import EVERYTHING
from tracetw.lab.net.host import PORT
from tracetw.lab.net.topology import Step
from tracetw.lab.net.wire import Packet
from tracetw.lab.play.ladder import wall_ns
from tracetw.lab.play.outcome import ENDS, Job, Outcome
from tracetw.lab.play.tracer import Line
from tracetw.lab.scenarios.reuse import SOURCE

__all__ = [
    "FAMILY",
    "FOLDER",
    "as_text",
    "kernel_of",
    "load",
    "recorded",
]

FOLDER = ROOT / "docs" / "ladders"
FAMILY = 4

# Chosen by the lab, not by the kernel; 0 is none.
CHOSEN = frozenset({0, PORT, SOURCE})
FIRST_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
FIRST_PORT = 40_001
FIRST_PID = 1001
NETNS = {"a": 4_026_532_001, "b": 4_026_532_002}
_NETWORK = re.compile(r"\b10\.(98|99)\.\d+\.")


class _Same:
    """One number for each different one, in the order in which they are first met."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._known: dict[int, int] = {}

    def __call__(self, value: int) -> int:
        return self._known.setdefault(value, self._first + len(self._known))


def recorded(outcome: Outcome) -> dict[str, Any]:
    """All that the pages and their tests need of an outcome."""
    port, pid = _Same(FIRST_PORT), _Same(FIRST_PID)
    moments = [segment.at_ns for segment in outcome.segments]
    moments += [step.at_ns for step in outcome.steps]
    shift = FIRST_NS - min(moments)

    def end(value: Mapping[str, Any]) -> dict[str, Any]:
        number = value["port"]
        return {
            "addr": value["addr"] and _named(value["addr"]),
            "port": number if number in CHOSEN else port(number),
        }

    def line(letter: str, values: Line) -> Line:
        return {
            **values,
            "time": rfc3339(wall_ns(values["time"]) + shift),
            "host": f"host-{letter}",
            "netns": NETNS[letter],
            "local": end(values["local"]),
            "remote": end(values["remote"]),
            "pid": values["pid"] and pid(values["pid"]),
            "cgroup": values["cgroup"] and "/",
            "container": None,
        }

    scenario = outcome.job.scenario
    return {
        "scenario": scenario.name,
        "kernel": ".".join(os.uname().release.split(".")[:2]),
        "segments": [
            {
                **asdict(segment),
                "at_ns": segment.at_ns + shift,
                "flags": sorted(segment.flags),
                "ports": [n if n in CHOSEN else port(n) for n in segment.ports],
            }
            for segment in outcome.segments
        ],
        "steps": [
            {"at_ns": step.at_ns + shift, "text": _named(step.text)} for step in outcome.steps
        ],
        **{
            name: {letter: [line(letter, one) for one in seen.get(letter, ())] for letter in ENDS}
            for name, seen in (("lines", outcome.lines), ("events", outcome.events))
        },
        # Only those that the scenario names: the others depend on the kernel.
        "counters": {
            letter: {name: outcome.counters[letter][name] for name in counted}
            for letter, counted in scenario.counters.items()
        },
    }


def _named(text: str) -> str:
    """Without the number that the lab has given to the network."""
    return _NETWORK.sub(r"10.\1.0.", text)


def as_text(document: Mapping[str, Any]) -> str:
    """JSON with one line for each segment, step and line, so that a change is easy to read."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield "{"
    for at, (name, value) in enumerate(document.items()):
        comma = "," if at < len(document) - 1 else ""
        if isinstance(value, list):
            yield from (f'"{name}": [', *_items(value, " "), f"]{comma}")
        elif name in {"lines", "events"}:
            yield f'"{name}": {{'
            for letter, end in zip(ENDS, ("],", "]"), strict=True):
                yield from (f' "{letter}": [', *_items(value[letter], "  "), f" {end}")
            yield f"}}{comma}"
        else:
            yield f'"{name}": {json.dumps(value)}{comma}'
    yield "}"


def _items(values: list[Any], indent: str) -> Iterator[str]:
    for at, value in enumerate(values):
        yield indent + json.dumps(value) + ("," if at < len(values) - 1 else "")


def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document


def kernel_of(name: str) -> str:
    """The kernel on which it was recorded, as in ``6.18``."""
    return str(_document(name)["kernel"])


def load(name: str) -> Outcome:
    """A scenario's outcome as it was recorded."""
    document = _document(name)
    return Outcome(
        # The kernel that they were recorded on shows everything.
        Job(BY_NAME[name].on(EVERYTHING), FAMILY),
        steps=[Step(**step) for step in document["steps"]],
        lines=document["lines"],
        events=document["events"],
        counters=document["counters"],
        segments=[
            Packet(
                **{
                    **segment,
                    "flags": frozenset(segment["flags"]),
                    "ports": tuple(segment["ports"]),
                }
            )
            for segment in document["segments"]
        ],
    )
