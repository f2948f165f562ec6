# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/vm``."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import invalidate_caches
from pathlib import Path

from scripts.guests.cache import say
from scripts.guests.errors import BadInput, Missing, UserError
from scripts.guests.guest import Ending
from scripts.guests.hypervisor import Hypervisor, Limits
from scripts.guests.junit import read
from scripts.guests.matrix import Matrix
from scripts.guests.output import Through, explain
from scripts.guests.rows import ROOT, Row, chosen, rows
from scripts.guests.survey import DATA, complaints, survey
from scripts.guests.table import Result, as_text

_TIMED_OUT, _LOST, _INTERRUPTED = 124, 125, 130
_ENDS = {Ending.TIMEOUT: _TIMED_OUT, Ending.PANIC: _LOST, Ending.LOST: _LOST}
_IN_GUESTS = ("recording", "query", "lab", "vm", "test", "emulator")
_DESCRIPTION = """Runs commands of this checkout under other kernels, in virtual machines.

Guests have no network, see the host's files without being able to write to them, and leave nothing
behind. Kernels come from the packages of Debian and Ubuntu, and stay in a cache outside of the
checkout (/var/cache/tracetw-vm, or tracetw-vm in XDG_CACHE_HOME).

TRACETW_DEBIAN_MIRROR and TRACETW_UBUNTU_MIRROR name mirrors. Without them the host's own packages come
from where its apt has them, and those of the other distribution from its public address; a matrix leaves
rows out that need it when it cannot be reached, unless --require says otherwise."""
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
    _with_machine(
        run := commands.add_parser(
            "run", help="run a command under one kernel", usage="%(prog)s [OPTIONS] ROW -- COMMAND"
        )
    )
    _with_limits(run)
    run.add_argument("--results", type=Path, metavar="DIR", help="the guest's /run/results")
    run.add_argument("row", metavar="ROW")
    _with_machine(
        matrix := commands.add_parser(
            "matrix",
            help="run the tests, or a command, under many kernels",
            usage="%(prog)s [OPTIONS] [ROW...] [-- COMMAND]",
        )
    )
    _with_limits(matrix)
    add = matrix.add_argument
    add("--ci", action="store_true", help="only the rows for continuous integration")
    add("--jobs", type=_count, default=1, metavar="N", help="rows at a time (default 1)")
    add("--require", action="store_true", help="a distribution that cannot be reached is an error")
    add("--budget", type=_seconds, metavar="SECONDS", help="for all rows; later ones are errors")
    add("--add", action="append", default=[], metavar="NAME=FILE", help="tests already run (JUnit)")
    add("rows", nargs="*", metavar="ROW", help="default: all")
    _with_machine(ask := commands.add_parser("survey", help="write tests/data/kernels"))
    _with_limits(ask)
    ask.add_argument("rows", nargs="*", metavar="ROW", help="default: all")
    return _split(parser, arguments)


def _split(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """The command for the guest stands after ``--``, and is no argument of ours."""
    words = list(arguments)
    at = words.index("--") if "--" in words else len(words)
    given = parser.parse_args(words[:at])
    given.argv = words[at + 1 :]
    if given.command == "run" and not given.argv:
        parser.error("which command? run ROW -- COMMAND")
    return given


def _with_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mirror", metavar="ADDRESS", help="of Debian (default: as the host's apt has it)"
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


def _emulators(picked: Sequence[Row]) -> list[str]:
    """What boots guests of these rows, besides what boots those of the host's processor."""
    return sorted(
        {
            f"emulator_{row.architecture}"
            for row in picked
            if row.architecture not in {"", os.uname().machine}
        }
    )


def _need(*what: str) -> None:
    """Install what is missing of it; scripts/setup says what and why not."""
    # A guest has no network: what its commands need is set up before.
    done = subprocess.run(
        [ROOT / "scripts" / "setup", *what], stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    invalidate_caches()


def _list(_: argparse.Namespace) -> int:
    for row in rows():
        print(f"{row.name:20} kernel {row.kernel}, root {row.root}: {row.reason}")
    return 0


def _fetch(given: argparse.Namespace) -> int:
    picked = chosen(given.rows)
    hypervisor = _hypervisor(given)
    _need("emulator", *_emulators(picked))
    for row in picked:
        if row.virtual:
            kernel = hypervisor.kernel(row, newest=True)
            hypervisor.root(row, newest=True)
            print(f"{row.name:20} {kernel.release}")
    return 0


def _run(given: argparse.Namespace) -> int:
    (row,) = chosen([given.row])
    if not row.virtual:
        raise BadInput(f"{row.name} is this kernel", "run the command without scripts/vm")
    if given.results is not None:
        given.results.mkdir(parents=True, exist_ok=True)
    limits = Limits(given.timeout, given.smp, given.memory)
    sinks = {"out": Through(1), "err": Through(2)}
    results = None if given.results is None else given.results.resolve()
    hypervisor = _hypervisor(given)
    _need(*_IN_GUESTS, *_emulators([row]))
    outcome = hypervisor.run(row, given.argv, sinks, limits, results=results)
    explain(row.name, outcome)
    return _ENDS.get(outcome.ending, outcome.status or 0)


def _matrix(given: argparse.Namespace) -> int:
    begin = time.monotonic()
    until = begin + given.budget if given.budget is not None else float("inf")
    limits = Limits(given.timeout, given.smp, given.memory)
    picked = chosen(given.rows)
    matrix = Matrix(_hypervisor(given), limits, given.argv or None, until, given.require)
    _need(*_IN_GUESTS, *_emulators(picked))
    results = [
        Result(name, os.uname().release, "", "none", read(Path(path), 0), 0)
        for name, _, path in (each.partition("=") for each in given.add)
    ]
    if given.ci:
        picked = tuple(replace(row, tests=row.ci) for row in picked if row.ci)
    played, whole = matrix.run_all(picked, given.jobs)
    results += played
    print(as_text(results), flush=True)
    if not whole:
        return _INTERRUPTED
    return int(not all(result.counts.good for result in results))


def _survey(given: argparse.Namespace) -> int:
    picked = chosen(given.rows)
    hypervisor, limits = _hypervisor(given), Limits(given.timeout, given.smp, given.memory)
    _need(*_IN_GUESTS, *_emulators(picked))
    for row in picked:
        found = survey(hypervisor, row, limits)
        DATA.mkdir(parents=True, exist_ok=True)
        DATA.joinpath(f"{row.name}.json").write_text(json.dumps(found, indent=1) + "\n")
        for complaint in complaints(row, found):
            say(complaint)
    say("written; now run scripts/gen-kernels")
    return 0


_COMMANDS = {"list": _list, "fetch": _fetch, "run": _run, "matrix": _matrix, "survey": _survey}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    given = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        _need("vm")
        return _COMMANDS[given.command](given)
    except UserError as error:
        say(str(error))
        return error.exit_code
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
