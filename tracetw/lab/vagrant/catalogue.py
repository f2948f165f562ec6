# SPDX-License-Identifier: Apache-2.0
"""All scenarios that only machines can show, under the titles of their families."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.lab.vagrant.play import MachineScenario
from tracetw.lab.vagrant.scenarios import kernels, nat, pause, power

FAMILIES: Mapping[str, tuple[MachineScenario, ...]] = {
    "Machines that stop": power.SCENARIOS,
    "Machines that go on": pause.SCENARIOS,
    "A router that translates": nat.SCENARIOS,
    "Two kernels": kernels.SCENARIOS,
}

SCENARIOS = tuple(scenario for scenarios in FAMILIES.values() for scenario in scenarios)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
