# SPDX-License-Identifier: Apache-2.0
"""Holds what a tracer reported against the truth: rows + lost is what really ended."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.benchmark.closes import count_closes, read_summary
from tracetw.lab.net.host import Host
from tracetw.stream.loss_places import NOT_ANNOUNCED

__all__ = ["Account", "Output", "Reader", "backlog", "json_lines", "lines_of", "lost_messages"]
__all__ += ["not_announced", "recording", "silent", "storm_lines", "table_lines"]

# Client addresses of the loads, 127.16.x.y to 127.215.x.y: one is in each line about a connection. The
# table puts an ellipsis in place of the beginning of what is too long for its column.
CLIENT = re.compile(
    rb"(?:\b127|\xe2\x80\xa6(?:27|7)?)\.(?:1[6-9]|[2-9][0-9]|1[0-9]{2}|20[0-9]|21[0-5])\.\d"
)
LOST = re.compile(rb"lost (\d+) (?:events|samples)", re.IGNORECASE)
SUMMARY_LOST = re.compile(r"^lost: (nothing|[\d,]+)", re.MULTILINE)
SUMMARY_NOT_ANNOUNCED = re.compile(
    rf"lost: ([\d,]+) records? \([^)]*{NOT_ANNOUNCED}(?:: ([\d,]+))?"
)
SUMMARY_WAITED = re.compile(r"up to ([\d,]+) records waited")
REPORT_LIMIT_S = 300
UNTOLD = 5
"""Some kernels keep an end from every program. It is noticed, and counted as lost, when its socket is
used again (``conn_begin``, bpf/table.h): the last few of a round never are."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a tracer wrote during one round: standard output, errors, and the folder of a recorder."""

    stdout: Path
    stderr: Path
    recording: Path


@dataclass(frozen=True, slots=True)
class Account:
    """Ends that there were, that were reported, and that the tracer says it lost; None: not known.

    A peer that says nothing lost what is missing in its output. ``not_announced``: of the lost ones, those that
    tracetw says the kernel announced to no program.
    """

    truth: int
    rows: int | None
    lost: int | None
    not_announced: int = 0

    def wrong(self) -> str | None:
        """Why the account does not add up; None when it does, or when nothing is known."""
        if self.rows is None:
            return None
        if self.lost is None:
            return "no summary at the end"
        missing = self.truth - self.rows
        if missing < 0:
            return f"{self.rows:,} rows of {self.truth:,} ends: some are reported twice"
        if missing - self.lost > UNTOLD:
            return f"{self.rows:,} rows and {self.lost:,} lost are not the {self.truth:,} ends"
        return None


Reader = Callable[[Output, Host, int, str], Account]
"""The account of a round, from its output, namespace, connections and load."""


def silent(output: Output, namespace: Host, connections: int, load: str) -> Account:
    """Nothing is printed but the summary."""
    del namespace, load
    summary = read_summary(output.stdout)
    lost = None if summary is None else int(summary["lost"])
    return Account(2 * connections, None, lost, not_announced(output))


def json_lines(output: Output, namespace: Host, connections: int, load: str) -> Account:
    """``close`` objects of the namespace, and what the summary says."""
    known = silent(output, namespace, connections, load)
    return replace(known, rows=count_closes(output.stdout, namespace.netns))


def table_lines(output: Output, namespace: Host, connections: int, load: str) -> Account:
    """Lines about clients of the load, and the summary on standard error."""
    del namespace, load
    rows = storm_lines(output.stdout)
    return Account(2 * connections, rows, _lost(output), not_announced(output))


def recording(output: Output, namespace: Host, connections: int, load: str) -> Account:
    """Ends in the recording, as ``tracetw report`` counts them."""
    del load
    command = [sys.executable, "-I", "-m", "tracetw", "report", "--json"]
    done = subprocess.run(
        [*command, "--netns", str(namespace.netns), str(output.recording)],
        capture_output=True,
        timeout=REPORT_LIMIT_S,
        check=False,
    )
    rows = int(json.loads(done.stdout)["closes"]) if done.returncode == 0 else 0
    return Account(2 * connections, rows, _lost(output), not_announced(output))


def lines_of(changes: dict[str, int]) -> Reader:
    """Of a peer that prints so many lines a connection: a number for each load."""

    def read(output: Output, namespace: Host, connections: int, load: str) -> Account:
        del namespace
        truth = changes[load] * connections
        rows = storm_lines(output.stdout)
        said = lost_messages(output.stdout) + lost_messages(output.stderr)
        return Account(truth, min(rows, truth), max(truth - rows, said))

    return read


def _lost(output: Output) -> int | None:
    said = SUMMARY_LOST.search(output.stderr.read_text(errors="replace"))
    if said is None:
        return None
    return 0 if said[1] == "nothing" else int(said[1].replace(",", ""))


def not_announced(output: Output) -> int:
    """Lost ends that the kernel announced to no program, as the summary says."""
    text = " ".join(output.stderr.read_text(errors="replace").split())
    said = SUMMARY_NOT_ANNOUNCED.search(text)
    return 0 if said is None else int((said[2] or said[1]).replace(",", ""))


def backlog(output: Output) -> int | None:
    """Most records that waited for the output, if the tracer says so."""
    said = SUMMARY_WAITED.search(output.stderr.read_text(errors="replace"))
    return int(said[1].replace(",", "")) if said else None


def storm_lines(path: Path) -> int:
    """Lines about a connection of the load."""
    with path.open("rb") as lines:
        return sum(CLIENT.search(line) is not None for line in lines)


def lost_messages(path: Path) -> int:
    """Sum of the losses that a peer itself reports ("lost 12 events on CPU #1")."""
    with path.open("rb") as lines:
        found = (LOST.search(line) for line in lines)
        return sum(int(match[1]) for match in found if match is not None)
