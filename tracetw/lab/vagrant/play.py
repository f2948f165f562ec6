# SPDX-License-Identifier: Apache-2.0
"""Playing one scenario between machines: recorded at each end, brought together here, held against its claims."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tracetw.lab.expect.match import EVERYTHING, differences, resolved
from tracetw.lab.expect.scenario import Scenario, as_lines
from tracetw.lab.net.host import SYSCTLS
from tracetw.lab.net.wire import disagreements, read
from tracetw.lab.play.check import check_events, check_lines
from tracetw.lab.play.gather import expected_lines, repetitions
from tracetw.lab.play.outcome import Job, Outcome, ProblemKind
from tracetw.lab.polling import NotPlayed
from tracetw.lab.vagrant.net import Machines
from tracetw.lab.vagrant.recorder import CUT, MachineRecorder, report, told
from tracetw.lab.vagrant.remote import Elsewhere, Machine
from tracetw.lab.vagrant.site import Site
from tracetw.lab.vagrant.ssh import CHECKOUT

# Of a machine, what of its kernel shows in a claim. Asked once for each boot of another kernel.
_SHOWN = (
    "import json;from tracetw.lab.expect.kernel import shown;print(json.dumps(sorted(shown())))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineScenario(Scenario):
    """A scenario that only machines can show.

    Attributes:
        topology: of ``vagrant/machines.json``.
        capture: at which host the wire is watched: one that survives.
        others: the ``close`` lines of hosts besides A and B, by letter.
        cut: hosts whose recording ends with their power: they report nothing of this connection, and ``tracetw
            report`` says that their recorder did not stop.
    """

    families: tuple[int, ...] = (4,)
    topology: str = "direct"
    capture: str = "b"
    others: Mapping[str, Any] = field(default_factory=dict)
    cut: tuple[str, ...] = ()


@dataclass(slots=True)
class Played:
    """An outcome, and where its recordings and its report are."""

    outcome: Outcome
    folder: Path
    report: str = ""
    recordings: tuple[Path, ...] = ()


class Players:
    """The machines of a topology, entered; what their kernels show."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.machines: dict[str, Machine] = {}
        self._shows: dict[str, frozenset[str]] = {}

    def __enter__(self) -> Players:
        ways = self.site.ways()
        for plan in self.site.plans:
            # It is known by the address on its last cable, as the router by that of the outside.
            self.machines[plan.letter] = Machine(
                plan.name, plan.letter, plan.addresses[-1], ways[plan.letter]
            )
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines.values():
            machine.way.close()

    def shows(self, letter: str) -> frozenset[str]:
        """What the kernel of a machine shows (:mod:`tracetw.lab.expect.kernel`)."""
        machine = self.machines[letter]
        release = machine.about["release"]
        if release not in self._shows:
            told_ = machine.run(f"{CHECKOUT}/.venv/bin/python", "-I", "-c", _SHOWN)
            self._shows[release] = frozenset(json.loads(told_))
        return self._shows[release]


def play(players: Players, scenario: Scenario, folder: Path) -> Played:
    """Play it once, with IPv4; recordings and report stay in ``folder``, which is made."""
    outcome = Outcome(Job(scenario, 4))
    played = Played(outcome, folder)
    started = time.monotonic()
    try:
        _play(players, played)
    except Elsewhere as error:
        outcome.skipped = str(error)
        outcome.problems.clear()
    except NotPlayed as error:
        outcome.add(ProblemKind.PLAY, [str(error)])
    except OSError as error:
        outcome.add(ProblemKind.PLAY, [f"{type(error).__name__}: {error}"])
    outcome.seconds = time.monotonic() - started
    return played


def _play(players: Players, played: Played) -> None:
    outcome = played.outcome
    machines = players.machines
    net = Machines(players.site, machines)
    outcome.steps = net.steps
    outcome.namespaces = {letter: machine.name for letter, machine in machines.items()}
    scenario = outcome.job.scenario
    watcher = scenario.capture if isinstance(scenario, MachineScenario) else "b"
    with ExitStack() as undo:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Machine.put_right, machines.values()))
        recorders = {
            letter: MachineRecorder(
                machine, players.site.data / "images", capture=letter == watcher
            )
            for letter, machine in machines.items()
            if letter != "r"
        }
        for recorder in recorders.values():
            undo.callback(recorder.stop)
        # They take some time to begin.
        shows = {letter: players.shows(letter) for letter in recorders}
        scenario = _on_each(scenario, shows)
        job = outcome.job = replace(outcome.job, scenario=scenario)
        for letter, machine in machines.items():
            _settle(undo, machine, scenario.sysctls.get(letter, {}), set_all=letter != "r")
        for recorder in recorders.values():
            recorder.await_ready()
        for machine in machines.values():
            machine.start_counting()
        try:
            with net:
                scenario.play(net)
                outcome.counters = {
                    letter: machine.counters()
                    for letter, machine in machines.items()
                    if letter not in net.dead
                }
        finally:
            net.undo_faults()
            for recorder in recorders.values():
                recorder.stop()
        fetched = {letter: each.fetch(played.folder) for letter, each in recorders.items()}
    played.recordings = tuple(folder / "recording" for folder in fetched.values())
    _judge(job, net, outcome, fetched, watcher)
    played.report = report(played.recordings)
    outcome.add(ProblemKind.LINES, _untold_cuts(scenario, played.report))
    (played.folder / "report.txt").write_text(played.report, encoding="utf-8")


def _untold_cuts(scenario: Scenario, told: str) -> list[str]:
    """The hosts without power of which a report does not say that their recording was cut off."""
    cut = scenario.cut if isinstance(scenario, MachineScenario) else ()
    said = " ".join(told.split()).count(CUT)
    return [f"the report says of {said} recordings, not {len(cut)}: {CUT}"] * (said != len(cut))


def _settle(undo: ExitStack, machine: Machine, values: Mapping[str, int], *, set_all: bool) -> None:
    """The settings of a scenario; those before come back at its end, or where that is not reached, before the next."""
    absent = [name for name in values if not machine.has_sysctl(name)]
    if absent:
        raise Elsewhere(f"the kernel of {machine.name} has no net.ipv4.{absent[0]}")

    def restore() -> None:
        if machine.is_up():
            machine.way.ask("restore")

    undo.callback(restore)
    machine.sysctl(**{**(SYSCTLS if set_all else {}), **values})


def _on_each(scenario: Scenario, shows: Mapping[str, frozenset[str]]) -> Scenario:
    """Each host as its own kernel shows it."""

    def by_host(name: str) -> dict[str, Any]:
        values = resolved(getattr(scenario, name), shows["a"])
        return {
            letter: resolved(value, shows.get(letter, EVERYTHING))
            for letter, value in getattr(scenario, name).items()
            if letter in values
        }

    changes: dict[str, Any] = {
        letter: resolved(getattr(scenario, letter), shows[letter]) for letter in ("a", "b")
    }
    for name in ("sysctls", "events", "counters", "differs"):
        changes[name] = by_host(name)
    return replace(scenario, **changes)


def _judge(
    job: Job, net: Machines, outcome: Outcome, fetched: Mapping[str, Path], watcher: str
) -> None:
    scenario = job.scenario
    others = scenario.others if isinstance(scenario, MachineScenario) else {}
    for letter, folder in fetched.items():
        lines = told(folder / "recording")
        outcome.lines[letter] = [line for line in lines if line["kind"] == "close"]
        outcome.events[letter] = [line for line in lines if line["kind"] in {"timewait", "drop"}]
        name = net.machines[letter].name
        ours = {"host": name, "uid": 0}
        if letter in {"a", "b"}:
            expected = expected_lines(job, net, letter, ours)
        else:
            expected = [{**ours, **line} for line in as_lines(others.get(letter))]
        outcome.add(ProblemKind.LINES, check_lines(letter, expected, outcome.lines[letter]))
        wanted = scenario.events.get(letter, {})
        outcome.add(ProblemKind.EVENTS, check_events(letter, wanted, outcome.events[letter]))
        counted = outcome.counters.get(letter, {})
        outcome.add(
            ProblemKind.COUNTERS, differences(scenario.counters.get(letter, {}), counted, letter)
        )
        if "RetransSegs" not in scenario.counters.get(letter, {}):
            outcome.add(ProblemKind.PLAY, repetitions(letter, expected, counted))
    machine = net.machines[watcher]
    outcome.pcap = fetched[watcher] / "wire.pcap"
    outcome.segments = read(outcome.pcap, machine.link_address(), watcher)
    outcome.add(ProblemKind.WIRE, disagreements(scenario.wire, scenario.order, outcome.segments))
