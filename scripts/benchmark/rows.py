# SPDX-License-Identifier: Apache-2.0
"""THE rows of the table: every tracer that is measured, how it is started and how its losses are counted."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from scripts.benchmark.closes import count_closes, read_summary
from scripts.benchmark.errors import NotStarted
from scripts.benchmark.namespace import Namespace

__all__ = ["ROWS", "Losses", "Output", "Row", "lost_messages", "storm_lines"]

ROOT = Path(__file__).resolve().parents[2]
# Client addresses of storm.c, one of which is in every line about one of its connections.
CLIENT = re.compile(rb"127\.(?:1[6-9]|[2-7][0-9])\.")
LOST = re.compile(rb"lost (\d+) (?:events|samples)", re.IGNORECASE)
# The peers that use a tracepoint need tracefs; mounted for them alone.
TRACEFS = """mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
exec "$@" """
BPFTRACE = """tracepoint:sock:inet_sock_set_state /args->protocol == 6/ {
  printf("%llu %d %s %s %d %s %d %d %d\\n", nsecs, pid, comm, ntop(args->family, args->saddr),
         args->sport, ntop(args->family, args->daddr), args->dport, args->oldstate, args->newstate);
}"""
# State changes of one connection, both ends.
CHANGES = {"rst": 6, "timewait": 10}
ONE_LINE_AN_END = {"rst": 2, "timewait": 2}


class Losses(Enum):
    """How the loss of a row is known."""

    SUMMARY = "its summary"
    CLOSES = "its summary, and close objects counted"
    LINES = "its messages, or lines missing in its output"
    NONE = "it reports nothing"


@dataclass(frozen=True, slots=True)
class Output:
    """What a tracer wrote during one storm: file of its standard output, and of its errors."""

    stdout: Path
    stderr: Path


@dataclass(frozen=True, slots=True)
class Row:
    """One tracer. ``ready_option`` names its option for a readiness descriptor, None if it has none."""

    name: str
    command: tuple[str, ...]
    losses: Losses
    what: str
    peer: bool = False
    ready_option: str | None = None
    lines: Mapping[str, int] = field(default_factory=dict)

    def argv(self, ready_fd: int) -> list[str]:
        """Its command line. Raises NotStarted when it is not installed."""
        program = shutil.which(self.command[0])
        if program is None:
            raise NotStarted("not on PATH")
        argv = [program, *self.command[1:]]
        if self.ready_option is not None:
            argv += [self.ready_option, str(ready_fd)] if self.ready_option else [str(ready_fd)]
        return ["unshare", "--mount", "sh", "-c", TRACEFS, "sh", *argv] if self.peer else argv

    def lost(self, output: Output, namespace: Namespace, mode: str, connections: int) -> int | None:
        """Records lost in a storm of that many connections; None when it cannot be known."""
        if self.losses is Losses.NONE:
            return None
        if self.losses is Losses.LINES:
            missing = self.lines[mode] * connections - storm_lines(output.stdout)
            return max(missing, lost_messages(output.stdout) + lost_messages(output.stderr))
        summary = read_summary(output.stdout)
        if summary is None:
            return None
        if self.losses is Losses.SUMMARY:
            return int(summary["lost"])
        difference = abs(2 * connections - count_closes(output.stdout, namespace.inode))
        return max(difference, int(summary["lost"]))


def storm_lines(path: Path) -> int:
    """Lines about a connection of the storm."""
    with path.open("rb") as lines:
        return sum(CLIENT.search(line) is not None for line in lines)


def lost_messages(path: Path) -> int:
    """Sum of the losses that a peer itself reports ("lost 12 events on CPU #1")."""
    with path.open("rb") as lines:
        found = (LOST.search(line) for line in lines)
        return sum(int(match[1]) for match in found if match is not None)


_TRACETW = (str(ROOT / "scripts" / "tracetw"), "trace", "-o", "json")
_STATES = "one line a state change, to a file"

ROWS = (
    Row(
        "empty",
        (sys.executable, "-I", "-m", "scripts.benchmark.empty"),
        Losses.NONE,
        "a BPF program that does nothing on the same hook: the floor",
        ready_option="",
    ),
    Row(
        "tracetw-judge",
        (*_TRACETW, "--verdict", "keepalive-expired"),
        Losses.SUMMARY,
        "every record decoded and judged, none printed",
        ready_option="--ready-fd",
    ),
    Row(
        "tracetw-json",
        _TRACETW,
        Losses.CLOSES,
        "every connection end as JSON, to a file",
        ready_option="--ready-fd",
    ),
    Row(
        "bpftrace",
        ("bpftrace", "-e", BPFTRACE),
        Losses.LINES,
        f"tracepoint:sock:inet_sock_set_state, {_STATES}",
        peer=True,
        lines=CHANGES,
    ),
    Row(
        "tcpstates",
        ("tcpstates",),
        Losses.LINES,
        f"libbpf-tools, {_STATES}",
        peer=True,
        lines=CHANGES,
    ),
    Row(
        "tcplife",
        ("tcplife",),
        Losses.LINES,
        "libbpf-tools, one line a connection end, to a file",
        peer=True,
        lines=ONE_LINE_AN_END,
    ),
    Row(
        "tcpstates-bpfcc",
        ("tcpstates-bpfcc",),
        Losses.LINES,
        f"BCC, {_STATES}",
        peer=True,
        lines=CHANGES,
    ),
    Row(
        "tcplife-bpfcc",
        ("tcplife-bpfcc",),
        Losses.LINES,
        "BCC, one line a connection end, to a file",
        peer=True,
        lines=ONE_LINE_AN_END,
    ),
)
