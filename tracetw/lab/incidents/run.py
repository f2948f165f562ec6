# SPDX-License-Identifier: Apache-2.0
"""Play incidents, several side by side, let ``tracetw report`` explain them, and judge it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tracetw.lab.incidents.catalogue import BY_NAME
from tracetw.lab.incidents.incident import PlayedIncident
from tracetw.lab.incidents.judge import Told, problems
from tracetw.lab.incidents.record import record
from tracetw.lab.named import named
from tracetw.lab.net.reaper import guarded
from tracetw.lab.net.topology import Net
from tracetw.lab.play.child import COMMAND, environment
from tracetw.lab.play.interrupt import stoppable
from tracetw.lab.polling import LOOK_S, STOP, NotPlayed, patient
from tracetw.messages import show
from tracetw.text import visible_lines

__all__ = ["IncidentOutcome", "chosen", "listing", "outcomes", "run"]

REPORT_LIMIT_S = 60.0
SETTINGS = Path("/proc/sys/net/ipv4")


@dataclass(slots=True)
class IncidentOutcome:
    """One incident as it was played.

    Attributes:
        incident: which.
        folder: its recordings, ``truth.json`` and ``page.html``, while the lab runs.
        truth: what ``truth.json`` has; empty if it did not come about.
        told: the document of ``tracetw report --json``; empty without.
        problems: what is not as it should be.
        skipped: why this machine cannot play it.
    """

    incident: PlayedIncident
    folder: Path
    truth: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    skipped: str | None = None

    @property
    def spoiled(self) -> bool:
        """It did not come about, or the kernel kept events from the recorder: it proves nothing."""
        hosts = self.told.get("hosts", ())
        return bool(self.problems) and (
            not self.told
            or any(host["losses"] for host in hosts)
            or any(row["difference"] for host in hosts for row in host["reconciliation"] or ())
        )

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "incident": self.incident.name,
            "claim": self.incident.claim,
            "passed": not self.problems and self.skipped is None,
            "skipped": self.skipped,
            "problems": self.problems,
            "spoiled": self.spoiled,
            "truth": self.truth,
            "told": self.told.get("incidents", []),
        }


def chosen(names: Sequence[str], *, everything: bool) -> tuple[PlayedIncident, ...]:
    """The incidents of these names, or all; BadInput where there is none of a name."""
    lists = "tracetw lab list --incidents"
    return named("incident", BY_NAME, names, everything=everything, lists=lists)


def listing(incidents: Sequence[PlayedIncident]) -> str:
    """Names, who records, and what happens."""
    rows = []
    for each in incidents:
        rows.append(f"{each.name:<24} recorded on {' and '.join(each.hosts)}")
        rows.append(f"  {each.claim}")
    return "\n".join(rows)


def outcomes(
    incidents: Sequence[PlayedIncident], folder: Path, at_once: int, check: Callable[[], None]
) -> Iterator[IncidentOutcome]:
    """Each incident once, in the order in which they end, each in a folder of its name.

    ``check`` is called now and then and raises when the user wants to stop.
    """
    nets: set[Net] = set()
    lock = threading.Lock()

    @contextmanager
    def watched(net: Net) -> Iterator[None]:
        with lock:
            nets.add(net)
        try:
            yield
        finally:
            with lock:
                nets.discard(net)

    with ThreadPoolExecutor(at_once) as pool:
        jobs = {pool.submit(_one, each, folder / each.name, watched) for each in incidents}
        try:
            while jobs:
                check()
                ended, jobs = wait(jobs, LOOK_S, FIRST_COMPLETED)
                yield from (job.result() for job in ended)
        except BaseException:
            STOP.set()
            with lock:
                for net in nets:  # who waits for a process wakes up
                    net.wake()
            for job in jobs:
                job.cancel()
            pool.shutdown()
            STOP.clear()
            raise


def _one(incident: PlayedIncident, folder: Path, watched: Callable[[Net], Any]) -> IncidentOutcome:
    outcome = IncidentOutcome(incident, folder)
    outcome.skipped = _lacking(incident) or (incident.needs() if incident.needs else None)
    if outcome.skipped is not None:
        return outcome
    try:
        outcome.truth = record(incident, folder, watched)
        told = report([folder / name for name in incident.hosts], folder / "page.html")
    except (NotPlayed, OSError) as error:
        outcome.problems.append(f"{type(error).__name__}: {error}")
        return outcome
    outcome.told = told.document
    outcome.problems += problems(outcome.truth, told)
    return outcome


def _lacking(incident: PlayedIncident) -> str | None:
    for name in {name for values in incident.sysctls.values() for name in values}:
        if not (SETTINGS / name).exists():
            return f"this kernel has no net.ipv4.{name}"
    return None


def report(recordings: Sequence[Path], page: Path) -> Told:
    """What ``tracetw report`` says of these recordings. Raises NotPlayed if it fails."""
    folders = [str(each) for each in recordings]
    document = json.loads(_said("report", *folders, "--utc", "--json", "--html", str(page)))
    text = _said("report", *folders, "--utc", "--no-pager")
    return Told(document, text, page.read_text(encoding="utf-8"))


def _said(*arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=patient(REPORT_LIMIT_S),
        env=environment(),
        check=False,
    )
    if done.returncode:
        raise NotPlayed(f"tracetw {' '.join(arguments)}: exit {done.returncode}: {done.stderr}")
    return done.stdout


def run(incidents: Sequence[PlayedIncident], keep: Path | None, at_once: int, output: str) -> int:
    """Play everything and print what became of it; 0 if all passed, 1 if one failed."""
    failed = skipped = 0
    with TemporaryDirectory(prefix="tracetw-lab-") as temporary, stoppable() as check, guarded():
        folder = keep or Path(temporary)
        for outcome in outcomes(incidents, folder, at_once, check):
            failed += bool(outcome.problems)
            skipped += outcome.skipped is not None
            text = json.dumps(outcome.to_json()) if output == "json" else outcome_text(outcome)
            print(visible_lines(text), flush=True)  # noqa: T201
    show(f"tracetw lab: {len(incidents)} incidents, {failed} failed, {skipped} skipped")
    if keep is not None:
        show(f"tracetw lab: recordings, truth.json and page.html are in {keep}/INCIDENT")
    return 1 if failed else 0


def outcome_text(outcome: IncidentOutcome) -> str:
    """The claim, the truth, what the report said, and what is wrong with it."""
    verdict = "SKIP" if outcome.skipped is not None else "FAIL" if outcome.problems else "PASS"
    lines = [f"{verdict} {outcome.incident.name}", f"  {outcome.incident.claim}"]
    if outcome.skipped is not None:
        lines.append(f"  {outcome.skipped}")
    for one in outcome.truth.get("incidents", ()):
        reach = ", ".join(f"{name} {count}" for name, count in one["reach"].items())
        lines.append(f"  truth   {one['cause']}, port {one['port']}: {reach}")
    lines += [f"  report  {one['sentence']}" for one in outcome.told.get("incidents", ())]
    lines += [f"  problem {problem}" for problem in outcome.problems]
    if outcome.spoiled:
        lines.append(
            "  it did not come about as a whole, or the recorder missed events: play again"
        )
    return "\n".join(lines)
