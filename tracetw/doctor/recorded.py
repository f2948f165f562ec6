# SPDX-License-Identifier: Apache-2.0
"""The same rules for what a recording knows of a namespace: fewer facts, and so fewer findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tracetw.doctor.finding import Finding, Seen
from tracetw.doctor.observed import Facts
from tracetw.doctor.paths import PATH_RULES
from tracetw.doctor.rules import RULES
from tracetw.doctor.setting import clock

_GAUGES = ("tw", "orphan")
_PORTS, _RANGE = "ports", "net.ipv4.ip_local_port_range"


def recorded(values: Mapping[str, int], hz: int) -> list[Finding]:
    """What looks wrong.

    Args:
        values: of ``tracetw.host.sysctl.read``; ``tw`` and ``orphan`` are the most at any moment.
        hz: CONFIG_HZ of the recorded host.
    """
    sysctls: dict[str, tuple[int, ...]] = {
        name: (value,) for name, value in values.items() if "." in name
    }
    if _PORTS in values:  # how many, but not which
        sysctls[_RANGE] = (1, values[_PORTS])
    gauges = {name: values[name] for name in _GAUGES if name in values}
    facts = Facts(sysctls=sysctls, sockets=gauges)
    seen = Seen(facts, clock(facts, hz), {}, {})
    found = [finding for rule in (*RULES, *PATH_RULES) for finding in rule(seen)]
    return [
        replace(each, value=f"{values[_PORTS]:,} ports") if each.about == _RANGE else each
        for each in found
    ]


def advice(finding: Finding) -> str:
    """What to do, as text."""
    if finding.change is None:
        return finding.advice
    name, value = finding.change
    return f"set {'it' if name == finding.about else name} to {value}"
