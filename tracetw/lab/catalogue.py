# SPDX-License-Identifier: Apache-2.0
"""All scenarios. A new file of them gets its line here."""

from __future__ import annotations

from tracetw.lab.scenario import Scenario
from tracetw.lab.scenarios import (
    abort,
    attempt,
    closing,
    frozen,
    orderly,
    owner,
    process,
    raw,
    reuse,
    timeout,
    timewait,
    twice,
)

__all__ = ["BY_NAME", "SCENARIOS"]

SCENARIOS: tuple[Scenario, ...] = (
    *orderly.SCENARIOS,
    *abort.SCENARIOS,
    *closing.SCENARIOS,
    *timeout.SCENARIOS,
    *attempt.SCENARIOS,
    *process.SCENARIOS,
    *owner.SCENARIOS,
    *timewait.SCENARIOS,
    *reuse.SCENARIOS,
    *raw.SCENARIOS,
    *twice.SCENARIOS,
    *frozen.SCENARIOS,
)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
