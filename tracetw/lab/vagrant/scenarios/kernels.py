# SPDX-License-Identifier: Apache-2.0
"""The oldest kernel that tracetw is written for at one end, the newest at the other: each shows what it can."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tracetw.lab.catalogue import BY_NAME
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.vagrant.play import MachineScenario


def _between_kernels(name: str, claim: str, **more: Any) -> MachineScenario:  # noqa: ANN401 (fields of a scenario)
    """A scenario of the catalogue, between these two."""
    scenario = BY_NAME[name]
    taken: dict[str, Any] = {each.name: getattr(scenario, each.name) for each in fields(Scenario)}
    taken.update(name=f"{name}-between-kernels", claim=claim, families=(4,), timewait={}, **more)
    return MachineScenario(topology="kernels", **taken)


SCENARIOS = (
    _between_kernels(
        "four-way-close",
        "A close between the oldest kernel and the newest: both ends say the same of it.",
        seconds=20,
    ),
    _between_kernels(
        "close-with-unread-data",
        "The oldest kernel aborts: it gives no reason, so its own line infers it; the newest receives the RST.",
        seconds=20,
    ),
    _between_kernels(
        "server-closes-first",
        "The newest kernel closes first and carries TIME_WAIT.",
        seconds=20,
    ),
)
