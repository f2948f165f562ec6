# SPDX-License-Identifier: Apache-2.0
"""``tracetw lab run --on vagrant``: choose scenarios and machines, play, print the results."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tracetw.lab import catalogue
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.named import named
from tracetw.lab.play.interrupt import stoppable
from tracetw.lab.play.outcome import Job, Outcome
from tracetw.lab.play.render import outcome_json, outcome_text, verdict_of
from tracetw.lab.polling import LOOK_S, STOP
from tracetw.lab.vagrant.catalogue import BY_NAME
from tracetw.lab.vagrant.play import MachineScenario, Played, Players, play
from tracetw.lab.vagrant.site import Site
from tracetw.messages import show
from tracetw.text import visible_lines

_LEFT = "machines that were up stay: vagrant destroy -f ends them"


@dataclass(slots=True)
class _Count:
    played: int = 0
    failed: int = 0
    skipped: int = 0


def chosen(names: Sequence[str], *, everything: bool) -> tuple[Scenario, ...]:
    """The scenarios of these names, of machines or of both catalogues; BadInput where there is none of a name."""
    known: dict[str, Scenario] = {**catalogue.BY_NAME, **BY_NAME}
    return named("scenario", known, names, everything=everything)


def run(scenarios: Sequence[Scenario], output: str) -> int:
    """Play them, topology by topology; 0 if all passed, 1 if one failed."""
    count = _Count()
    topologies = list(dict.fromkeys(map(_topology, scenarios)))
    with stoppable(_LEFT) as check, ThreadPoolExecutor(1, "lab") as pool:
        try:
            for topology in topologies:
                mine = [each for each in scenarios if _topology(each) == topology]
                future = pool.submit(_together, Site(topology), mine, output, count)
                while wait([future], LOOK_S).not_done:
                    check()
                future.result()
        except BaseException:
            STOP.set()
            raise
        finally:
            pool.shutdown()
            STOP.clear()
    show(
        f"tracetw lab: {count.played} played, {count.failed} failed, {count.skipped} skipped;"
        " the machines stay: vagrant destroy -f ends them"
    )
    return 1 if count.failed else 0


def _topology(scenario: Scenario) -> str:
    if isinstance(scenario, MachineScenario):
        return scenario.topology
    if scenario.nat:
        return "nat"
    return os.environ.get("TRACETW_TOPOLOGY") or "direct"


def _together(site: Site, scenarios: Sequence[Scenario], output: str, count: _Count) -> None:
    """Those of one topology, one after the other."""
    playable = [each for each in scenarios if 4 in each.families]  # noqa: PLR2004 (IPv4)
    for scenario in scenarios:
        if scenario not in playable:
            outcome = Outcome(Job(scenario, 6), skipped="the machines have no IPv6 between them")
            _tell(Played(outcome, Path()), output, count)
    if not playable:
        return
    site.check_means()
    with Players(site) as players:
        for scenario in playable:
            folder = site.data / "lab" / scenario.name
            shutil.rmtree(folder, ignore_errors=True)
            played = play(players, scenario, folder)
            if STOP.is_set():
                return
            _tell(played, output, count)


def _tell(played: Played, output: str, count: _Count) -> None:
    outcome = played.outcome
    count.played += 1
    count.failed += bool(outcome.problems)
    count.skipped += outcome.skipped is not None
    show(f"tracetw lab: {verdict_of(outcome)} {outcome.job.title} in {outcome.seconds:.0f} s")
    written = _as_json if output == "json" else _as_text
    print(visible_lines(written(played)), flush=True)  # noqa: T201


def _as_json(played: Played) -> str:
    document = json.loads(outcome_json(played.outcome))
    document["report"] = played.report
    document["recordings"] = [str(path) for path in played.recordings]
    return json.dumps(document)


def _as_text(played: Played) -> str:
    lines = [outcome_text(played.outcome)]
    if played.report:
        lines += [
            f"  both recordings together (tracetw report {' '.join(map(str, played.recordings))}):",
            "",
            *(f"    {line}" for line in played.report.splitlines()),
            "",
        ]
    return "\n".join(lines)
