# SPDX-License-Identifier: Apache-2.0
"""``scripts/bench``: measures what was asked for, and shows it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.benchmark.calibrate import connections_for
from scripts.benchmark.errors import BenchError, NotStarted
from scripts.benchmark.idle import MOST_WINDOWS, Idle, idle
from scripts.benchmark.machine import this_machine
from scripts.benchmark.measured import Measured
from scripts.benchmark.namespace import storm_host
from scripts.benchmark.options import Settings, parse
from scripts.benchmark.page import as_json, as_page, commit
from scripts.benchmark.progress import Progress
from scripts.benchmark.rounds import measure
from scripts.benchmark.rows import IDLE, ROOT
from scripts.benchmark.storm import Storm
from scripts.benchmark.tables import as_text
from scripts.benchmark.web import WebWork
from scripts.benchmark.work import STORMS, StormWork, Work
from tracetw.lab.net.reaper import guarded

__all__ = ["main"]

DOCUMENT = ROOT / "docs" / "performance.md"
TITLES = {
    **STORMS,
    WebWork.name: WebWork.what,
    IDLE: "Nothing ends; then single connections, for the time from an end to its line.",
}


def run(settings: Settings, folder: Path, rows: list[Measured | Idle]) -> None:
    """Measure, and add each row that is done to ``rows``. Raises BenchError."""
    works: list[Work] = []
    if set(settings.loads) & set(STORMS):
        storm = Storm(folder)
        works += [StormWork(name, storm) for name in STORMS if name in settings.loads]
    if WebWork.name in settings.loads:
        web = folder / "web"
        web.mkdir()
        works.append(WebWork(web))
    pairs = sum(len(settings.rows(work.name)) for work in works) * (settings.rounds + 1)
    windows = min(settings.rounds, MOST_WINDOWS)
    idles = settings.rows(IDLE) if IDLE in settings.loads else []
    progress = Progress(pairs + len(idles) * (windows + 1))
    try:
        for work in works:
            rows.extend(_under(work, settings, folder, progress))  # one by one
        plan = settings.plan(0)
        rows.extend(idle(row, plan, settings.idle_seconds, folder, progress) for row in idles)
    finally:
        progress.end()


def _under(work: Work, settings: Settings, folder: Path, progress: Progress) -> Iterator[Measured]:
    """All rows of a load; the time that a side takes is found out once, for all of them."""
    rows = settings.rows(work.name)
    if not rows:
        return
    connections = settings.connections
    if connections is None:
        try:
            with storm_host() as namespace, work.ready(namespace) as go:
                connections = connections_for(settings.seconds, work.most, go)
        except NotStarted as error:
            progress.say(f"{work.name}: {error}")
            plan = settings.plan(0)
            yield from (Measured(row.name, work.name, plan, failed=str(error)) for row in rows)
            return
    progress.say(f"{work.name}: {connections:,} connections a side")
    plan = settings.plan(connections)
    for row in rows:
        yield measure(row, plan, work, folder, progress)


def bench(settings: Settings) -> int:
    """Measure, show, write. Raises BenchError."""
    if os.geteuid() != 0:
        raise BenchError("tracing needs root: sudo scripts/bench")
    named = commit(ROOT) if settings.write else ""
    rows: list[Measured | Idle] = []
    try:
        with guarded(), tempfile.TemporaryDirectory(prefix="tracetw-bench-") as name:
            run(settings, Path(name), rows)
    finally:
        # Also what was measured before Ctrl-C: it took long enough.
        if rows:
            print(as_text(rows, TITLES.__getitem__))
    machine = this_machine(time.strftime("%Y-%m-%d", time.gmtime()))
    if settings.json is not None:
        settings.json.write_text(as_json(rows, machine) + "\n")
    if settings.write:
        DOCUMENT.write_text(as_page(rows, machine, ROOT, named, TITLES))
    return int(any(_failed(row) for row in rows))


def _failed(row: Measured | Idle) -> bool:
    wrong = isinstance(row, Measured) and row.wrong
    return bool(row.name.startswith("tracetw") and (row.failed or wrong))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 measured, 1 a row of tracetw failed, 2 bad input, 3 not possible here, 130 Ctrl-C."""
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    # Whatever ends this process, what it started ends with it, and its folder goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return bench(settings)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
