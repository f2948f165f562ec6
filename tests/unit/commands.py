# SPDX-License-Identifier: Apache-2.0
"""Every command there is, found from the command line itself, and running one as a user does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from tracetw.cli import main

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "data" / "recordings" / "v1" / "raw"

# As scripts/tracetw starts it.
PROGRAM = ("env", "--default-signal=INT", "--block-signal=INT", sys.executable, "-m", "tracetw")

# Words that make each command do its work; with root the kernel tests have those that trace.
WORK: dict[tuple[str, ...], list[str]] = {
    (): ["--help"],
    ("trace",): ["--min-duration", "2s", "--duration", "1s"],
    ("top",): ["--replay", "recording", "--once"],
    ("record",): ["-o", "recording", "--max-age", "0"],
    ("report",): ["recording"],
    ("replay",): ["recording"],
    ("query",): ["recording", "SELECT count(*) FROM closes, closes AS b, closes AS c"],
    ("doctor",): [],
    ("timewait",): [],
    ("explain",): [],
    ("lab",): ["--help"],
    ("lab", "list"): [],
    ("lab", "run"): ["no-such-scenario"],
    ("lab", "incident"): ["no-such-incident"],
    ("lab", "book"): ["99"],
    ("lab", "packetdrill"): ["no-such-script"],
    ("completion",): ["bash"],
}


def commands(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The words of every command and group."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))


COMMANDS = [*commands()]
IDS = [" ".join(path) or "tracetw" for path in COMMANDS]


def environment(folder: Path) -> dict[str, str]:
    """Of a run whose home is this folder."""
    mine = {"PYTHONPATH": str(ROOT), "TERM": "dumb", "SHELL": ""}
    return {**os.environ, **mine, "HOME": str(folder), "XDG_CACHE_HOME": str(folder)}


@contextmanager
def heard() -> Iterator[None]:
    """Ctrl-C reaches children from their first moment on, in a background job as well.

    There SIGINT is ignored, and ``env`` needs a moment to undo that.
    """
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended; the code as a shell sees it."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Of standard error."""
        return self.err.splitlines()


def run(
    *words: str,
    folder: Path,
    stdout: int | IO[bytes] = subprocess.PIPE,
    interrupt_after_s: float | None = None,
    closed: Sequence[int] = (),
) -> Ended:
    """Run ``tracetw`` with these words in a folder; ``closed`` are descriptors that it does not have."""
    closing = "".join(f" {number}>&-" for number in closed)
    shell = ["sh", "-c", f'exec "$@"{closing}', "sh"] if closed else []
    process = subprocess.Popen(
        [*shell, *PROGRAM, *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(folder),
        start_new_session=True,
    )
    if interrupt_after_s is not None:
        time.sleep(interrupt_after_s)  # the moment is what is tested
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Ended(code, (out or b"").decode(errors="replace"), err.decode(errors="replace"))
