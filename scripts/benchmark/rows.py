# SPDX-License-Identifier: Apache-2.0
"""THE rows of the tables: every tracer that is measured, and how it is started."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.account import (
    Output,
    Reader,
    json_lines,
    lines_of,
    recording,
    silent,
    table_lines,
)
from scripts.benchmark.errors import NotStarted
from scripts.benchmark.work import STORMS

__all__ = ["EMPTY", "IDLE", "LOADS", "ROOT", "ROWS", "BenchRow"]

ROOT = Path(__file__).resolve().parents[2]
IDLE = "idle"
LOADS = (*STORMS, "nginx", IDLE)
# The peers that use a tracepoint need tracefs; mounted for them alone.
TRACEFS = """mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
exec "$@" """
BPFTRACE = """tracepoint:sock:inet_sock_set_state /args->protocol == 6/ {
  printf("%llu %d %s %s %d %s %d %d %d\\n", nsecs, pid, comm, ntop(args->family, args->saddr),
         args->sport, ntop(args->family, args->daddr), args->dport, args->oldstate, args->newstate);
}"""
MOST_RECORDED = "16G"  # nothing of a round is dropped
# State changes of one connection, both ends.
CHANGES = {"rst": 6, "timewait": 10}
ONE_LINE_AN_END = {"rst": 2, "timewait": 2}


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One tracer, and the loads under which it is measured.

    ``ready_option`` names its option for a readiness descriptor: "" is a bare argument, None has none.
    ``account`` holds its output against the truth; None: it reports nothing. ``ends``: it reports ends
    of connections and says what it lost, so that rows + lost must be the truth.
    """

    name: str
    command: tuple[str, ...]
    what: str
    account: Reader | None
    loads: tuple[str, ...] = tuple(STORMS)
    peer: bool = False
    ends: bool = False
    ready_option: str | None = None
    records: bool = False

    def argv(self, ready_fd: str, output: Output) -> list[str]:
        """Its command line. Raises NotStarted when it is not installed."""
        program = shutil.which(self.command[0])
        if program is None:
            raise NotStarted("not on PATH")
        argv = [program, *self.command[1:]]
        if self.records:
            argv += ["-o", str(output.recording), "--max-size", MOST_RECORDED]
        if self.ready_option is not None:
            argv += [self.ready_option, ready_fd] if self.ready_option else [ready_fd]
        return ["unshare", "--mount", "sh", "-c", TRACEFS, "sh", *argv] if self.peer else argv


def _tracetw(name: str, arguments: str, what: str, account: Reader, *loads: str) -> BenchRow:
    command = (sys.executable, "-I", "-m", "tracetw", *arguments.split())
    return BenchRow(
        f"tracetw-{name}",
        command,
        what,
        account,
        tuple(STORMS) + loads,
        ends=True,
        ready_option="--ready-fd",
        records=name == "record",
    )


def _peer(name: str, what: str, lines: dict[str, int], *arguments: str) -> BenchRow:
    return BenchRow(name, (name, *arguments), what, lines_of(lines), peer=True)


EMPTY = "empty"
_STATES = "one line a state change, to a file"

ROWS = (
    BenchRow(
        EMPTY,
        (sys.executable, "-I", "-m", "scripts.benchmark.empty"),
        "a BPF program that does nothing on the same hook: the floor",
        None,
        ready_option="",
    ),
    _tracetw(
        "filtered",
        "trace -o json --port 1",
        "no end is wanted, and the programs know it: the floor of a trace with a filter",
        silent,
        "nginx",
    ),
    _tracetw(
        "judge",
        "trace -o json --verdict keepalive-expired",
        "every end read and judged, none printed: the filter asks for a verdict that does not occur",
        silent,
        "nginx",
    ),
    _tracetw(
        "json",
        "trace -o json",
        "every end as JSON, to a file",
        json_lines,
        "nginx",
        IDLE,
    ),
    _tracetw(
        "table",
        "trace -o table --no-color",
        "every end as a line of the table, to a file",
        table_lines,
        "nginx",
        IDLE,
    ),
    _tracetw(
        "wide",
        "trace -o wide --no-color",
        "every end as a line with all details, to a file",
        table_lines,
    ),
    _tracetw(
        "record",
        "record",
        "every end recorded, with compaction in the background",
        recording,
        "nginx",
    ),
    _peer(
        "bpftrace",
        f"tracepoint:sock:inet_sock_set_state, {_STATES}",
        CHANGES,
        "-e",
        BPFTRACE,
    ),
    _peer("tcpstates", f"libbpf-tools, {_STATES}", CHANGES),
    _peer("tcplife", "libbpf-tools, one line a connection end, to a file", ONE_LINE_AN_END),
    _peer("tcpstates-bpfcc", f"BCC, {_STATES}", CHANGES),
    _peer("tcplife-bpfcc", "BCC, one line a connection end, to a file", ONE_LINE_AN_END),
)
