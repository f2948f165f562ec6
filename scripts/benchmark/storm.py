# SPDX-License-Identifier: Apache-2.0
"""The load: ``scripts/storm.c``, compiled and run in a namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.errors import BenchError
from tracetw.lab.net.host import Host

__all__ = ["LIMIT_S", "LONGEST_S", "Load", "Storm", "parse_load"]

SOURCE = Path(__file__).resolve().parents[1] / "storm.c"
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")
LIMIT_S = 120
LONGEST_S = 600
"""The longest that storm.c takes."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of a load did: connections made and closed, seconds, CPU seconds of its own, failures.

    ``p99_ms``: the 99th percentile of the time that a client saw, where the load has such clients.
    """

    connections: int
    seconds: float
    cpu_s: float
    errors: int
    p99_ms: float | None = None

    @property
    def rate(self) -> float:
        """Connections a second."""
        return self.connections / self.seconds


def parse_load(text: str) -> Load:
    """The line of JSON that storm prints."""
    line = json.loads(text)
    errors = line["errors"] + line["broken_workers"]
    return Load(line["connections"], line["seconds"], line["cpu_seconds"], errors)


class Storm:
    """The compiled generator, in ``folder``; a storm ends within ``limit_s`` seconds.

    Raises BenchError without a C compiler.
    """

    def __init__(self, folder: Path, limit_s: int = LIMIT_S) -> None:
        self._limit_s = limit_s
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        if compiler is None:
            raise BenchError("no C compiler on PATH to build the load generator; install gcc")
        self.program = folder / "storm"
        command = [compiler, *FLAGS, "-o", str(self.program), str(SOURCE)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            raise BenchError(f"{SOURCE.name} does not compile: {built.stderr.strip()}")

    def command(self, connections: int, mode: str = "rst", *more: str) -> list[str]:
        """Its command line."""
        bounds = ["--connections", str(connections), "--seconds", str(self._limit_s)]
        return [str(self.program), *bounds, "--mode", mode, *more]

    def run(self, namespace: Host, connections: int, mode: str = "rst") -> Load:
        """One storm to its end. Raises BenchError unless every connection went as described."""
        process = self.start(namespace, connections, mode)
        return self.finish(process)

    def start(self, namespace: Host, connections: int, mode: str = "rst") -> subprocess.Popen[str]:
        """A storm in the background; returns once its workers are at it."""
        ready, told = os.pipe()
        try:
            command = self.command(connections, mode, "--ready-fd", str(told))
            process = subprocess.Popen(
                namespace.inside(command), stdout=subprocess.PIPE, pass_fds=(told,), text=True
            )
        finally:
            os.close(told)
        with os.fdopen(ready, "rb") as reader:
            reader.read(1)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Load:
        """Wait for a storm of ``start``. Raises BenchError like ``run``."""
        try:
            said, _ = process.communicate()
        except BaseException:
            process.kill()  # its workers die with it
            process.wait()
            raise
        if process.returncode:
            raise BenchError(f"the storm failed (exit {process.returncode}): {said.strip()}")
        return parse_load(said)
