# SPDX-License-Identifier: Apache-2.0
"""All scenarios. A new file of them gets its line here, under the title of its family."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.scenarios import (
    abort,
    answered,
    attempt,
    closing,
    disconnect,
    early,
    exits,
    fallback,
    final,
    frozen,
    hint,
    listener,
    mptcp,
    nat,
    orderly,
    owner,
    raw,
    reuse,
    silence,
    stranger,
    subflow,
    timeout,
    timewait,
    twice,
)

FAMILIES: Mapping[str, tuple[Scenario, ...]] = {
    "Closed by FIN": orderly.SCENARIOS,
    "Ended by RST": abort.SCENARIOS,
    "Answers before the request was read": early.SCENARIOS,
    "Dissolved by connect(AF_UNSPEC)": disconnect.SCENARIOS,
    "Closes that a timer had to finish": closing.SCENARIOS,
    "Given up by a timer": timeout.SCENARIOS,
    "Peers that stand still": frozen.SCENARIOS,
    "Attempts, and ground taken away": attempt.SCENARIOS,
    "Ended because the process did": exits.SCENARIOS,
    "Whose connection it was": owner.SCENARIOS,
    "TIME_WAIT": timewait.SCENARIOS,
    "TIME_WAIT taken over": reuse.SCENARIOS,
    "Two clients behind one address": nat.SCENARIOS,
    "Segments that should not have come": raw.SCENARIOS,
    "Segments that arrive twice": twice.SCENARIOS,
    "Connections of MPTCP": (*mptcp.SCENARIOS, *subflow.SCENARIOS, *fallback.SCENARIOS),
    "What the facts point to beside the verdict": hint.SCENARIOS + silence.SCENARIOS,
    "Was it the peer?": stranger.SCENARIOS,
    "Before there is a connection": listener.SCENARIOS,
    "Somebody answered": answered.SCENARIOS,
    "Numbers that are final, limits as they are": final.SCENARIOS,
}

SCENARIOS: tuple[Scenario, ...] = tuple(
    scenario for scenarios in FAMILIES.values() for scenario in scenarios
)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
