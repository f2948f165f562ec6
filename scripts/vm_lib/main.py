# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/vm``."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from scripts.vm_lib.cache import say
from scripts.vm_lib.errors import Missing, UserError
from scripts.vm_lib.guest import Ending, Outcome
from scripts.vm_lib.hypervisor import Hypervisor, Limits
from scripts.vm_lib.rows import chosen, rows

__all__ = ["main", "parse"]

_TIMED_OUT, _LOST, _INTERRUPTED = 124, 125, 130
_ENDS = {Ending.TIMEOUT: _TIMED_OUT, Ending.PANIC: _LOST, Ending.LOST: _LOST}
_DESCRIPTION = """Runs commands of this checkout under other kernels, in virtual machines.

Guests have no network, see the host's files without being able to write to them, and leave nothing
behind. Kernels come from Debian's packages, are not installed, and are kept outside of the checkout
(/var/cache/tracetw-vm, or tracetw-vm in XDG_CACHE_HOME)."""
_EXITS = """Exit status of run: that of COMMAND; 124 when --timeout ended it, 125 when the guest ended without
one, as after a kernel panic. Otherwise 0 done, 1 failed, 2 wrong arguments, 3 something that is
needed is not here (the message says what to do), 130 Ctrl-C."""


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text}: give seconds above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= (os.cpu_count() or 1) * 4:
        raise argparse.ArgumentTypeError(f"{text}: give 1 to {(os.cpu_count() or 1) * 4}")
    return value


def _memory(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[MG]", text):
        raise argparse.ArgumentTypeError(f"{text}: give a size such as 512M or 3G")
    return text


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What was asked for; ends with exit status 2 for bad input."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="vm", description=_DESCRIPTION, epilog=_EXITS, formatter_class=form
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="the kernels, and why each")
    _with_machine(fetch := commands.add_parser("fetch", help="fetch the newest kernels of rows"))
    fetch.add_argument("rows", nargs="*", metavar="ROW", help="default: all")
    _with_machine(run := commands.add_parser("run", help="run a command under one kernel"))
    _with_limits(run)
    run.add_argument("--results", type=Path, metavar="DIR", help="the guest's /run/results")
    run.add_argument("row", metavar="ROW")
    run.add_argument(
        "argv", nargs="+", metavar="COMMAND", help="after --, in the checkout, as root"
    )
    return parser.parse_args(arguments)


def _with_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mirror", metavar="ADDRESS", help="of Debian (default: as the host's apt)"
    )
    parser.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto")


def _with_limits(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--timeout", type=_seconds, metavar="SECONDS", help="end it after this time")
    add("--smp", type=_count, default=2, metavar="N", help="processors (default 2)")
    add("--memory", type=_memory, default="3G", metavar="SIZE", help="such as 512M (default 3G)")


def _hypervisor(given: argparse.Namespace) -> Hypervisor:
    if os.geteuid() != 0:
        raise Missing("guests see the whole host and need root", "sudo scripts/vm")
    return Hypervisor(given.mirror, None if given.accel == "auto" else given.accel)


def _list(_: argparse.Namespace) -> int:
    for row in rows():
        print(f"{row.name:20} kernel {row.kernel}, root {row.root}: {row.reason}")
    return 0


def _fetch(given: argparse.Namespace) -> int:
    hypervisor = _hypervisor(given)
    for row in chosen(given.rows):
        if row.virtual:
            kernel = hypervisor.kernel(row, newest=True)
            hypervisor.root(row, newest=True)
            print(f"{row.name:20} {kernel.release}")
    return 0


def _run(given: argparse.Namespace) -> int:
    (row,) = chosen([given.row])
    if not row.virtual:
        os.execvp(given.argv[0], given.argv)  # noqa: S606 - no shell is meant
    if given.results is not None:
        given.results.mkdir(parents=True, exist_ok=True)
    limits = Limits(given.timeout, given.smp, given.memory)
    sinks = {"out": _writer(1), "err": _writer(2)}
    results = None if given.results is None else given.results.resolve()
    outcome = _hypervisor(given).run(row, given.argv, sinks, limits, results)
    explain(row.name, outcome)
    return _ENDS.get(outcome.ending, outcome.status or 0)


def explain(name: str, outcome: Outcome) -> None:
    """Say what went wrong, if anything did, and what the console showed."""
    if outcome.ending is Ending.EXIT:
        return
    for line in outcome.console:
        say(f"{name} console: {line}")
    say(f"{name}: {outcome.ending.value}, after {outcome.seconds:.0f} s")


class _Writer:
    """Passes on what the guest writes, at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]


def _writer(descriptor: int) -> _Writer:
    return _Writer(descriptor)


def _ended(number: int, _: FrameType | None) -> NoReturn:
    """As Ctrl-C: what was started is ended on the way out."""
    raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    given = parse(sys.argv[1:] if arguments is None else arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ended)
    try:
        return {"list": _list, "fetch": _fetch, "run": _run}[given.command](given)
    except UserError as error:
        say(str(error))
        return error.exit_code
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
