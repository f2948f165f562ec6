# SPDX-License-Identifier: Apache-2.0
"""From a row to a machine that can be switched on: kernel, root, accelerator, folders."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.guests import accelerator, initramfs
from scripts.guests.apt import Archive
from scripts.guests.architecture import Architecture, this_architecture
from scripts.guests.cache import folder, say
from scripts.guests.distribution import Mirrors
from scripts.guests.foreign import foreign_root
from scripts.guests.guest import Guest, Outcome
from scripts.guests.job import Job
from scripts.guests.kernel import Kernel, cached, fetch
from scripts.guests.machine import Machine, Share
from scripts.guests.root import Root, host_root, release_root
from scripts.guests.rows import HOST, ROOT, Row, distributions

# Where the guest finds the folder that the host keeps.
RESULTS = "/run/results"
# Says in a guest which row it is.
ROW = "TRACETW_ROW"
# From the host's environment into the guest's; all else is the guest's own.
_PASSED_ON = ("CI", "NO_COLOR", "PYTEST_ADDOPTS", "TRACETW_PATIENCE")

Sink = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one run. ``seconds``: None waits for ever."""

    seconds: float | None = None
    processors: int = 2
    memory: str = "3G"


@dataclass(slots=True)
class Hypervisor:
    """Runs commands under the kernels of rows. Several threads may: one at a time fetches what is missing.

    Args:
        mirror: of Debian; None takes the host's.
        accelerator: ``kvm`` or ``tcg``; None tries.
    """

    mirror: str | None = None
    accelerator: str | None = None
    architecture: Architecture = field(default_factory=this_architecture)
    mirrors: Mirrors = field(init=False)
    _preparing: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        """What boxes.yaml says of distributions."""
        given = {"debian": self.mirror} if self.mirror else {}
        self.mirrors = Mirrors(distributions(), given)

    def archive(self, row: Row, suite: str) -> Archive:
        """A release of the row's distribution."""
        return self.mirrors.archive(row.distribution, suite, self.processor(row).debian)

    def processor(self, row: Row) -> Architecture:
        """That of the row, which is the host's if it does not say."""
        return this_architecture(row.architecture) if row.architecture else self.architecture

    def kernel(self, row: Row, *, newest: bool = False) -> Kernel:
        """Its kernel out of the cache, else (or for the newest one) from the distribution."""
        debian = self.processor(row).debian
        shelf = folder("kernels", f"{row.kernel}-{debian}")
        with self._preparing:
            return self._kernel(row, shelf, debian, newest=newest)

    def _kernel(self, row: Row, shelf: Path, debian: str, *, newest: bool) -> Kernel:
        have = None if newest else cached(shelf)
        named = self.mirrors.distributions[row.distribution].kernel
        package = named.format(architecture=debian)
        return have or fetch(shelf, package, lambda suite: self.archive(row, suite), row.kernel)

    def root(self, row: Row, *, newest: bool = False) -> Root:
        """The file system that its guest shows."""
        debian = self.processor(row).debian
        foreign = debian != self.architecture.debian
        if row.root in {HOST, _this_release()} and not foreign:
            return host_root()
        shelf = folder("roots", f"{row.root}-{debian}")
        made = foreign_root if foreign else release_root
        with self._preparing:
            return made(shelf, lambda: self.archive(row, row.root), newest=newest)

    def chosen_accelerator(self, row: Row, kernel: Kernel) -> str:
        """What was asked for, or what works. Another processor is always emulated."""
        if self.processor(row) != self.architecture:
            return "tcg"
        with self._preparing:
            if self.accelerator is None:
                self.accelerator = accelerator.choose(lambda: self._boots(kernel))
            return self.accelerator

    def run(
        self,
        row: Row,
        argv: Sequence[str],
        sinks: Mapping[str, Sink],
        limits: Limits,
        *,
        results: Path | None = None,
        stop: threading.Event | None = None,
    ) -> Outcome:
        """A command of this checkout in a guest, which ends when another thread says stop."""
        kernel, root = self.kernel(row), self.root(row)
        which = self.chosen_accelerator(row, kernel)
        images = folder("images", row.name)
        images.chmod(0o700)
        shares = [
            Share("root", root.path),
            Share("checkout", ROOT),
            Share("modules", kernel.modules),
            Share("images", images, writable=True),
        ]
        if root.venv is not None:
            shares.append(Share("venv", root.venv))
        if results is not None:
            shares.append(Share("results", results, writable=True))
        machine = Machine(
            self.processor(row),
            which,
            kernel.image,
            initramfs.build(kernel),
            tuple(shares),
            limits.processors,
            limits.memory,
        )
        job = Job(
            row.name,
            str(ROOT),
            argv,
            _environment(row, which),
            venv=root.venv is not None,
            results="" if results is None else RESULTS,
        )
        say(f"{row.name}: booting {kernel.release} ({which})")
        with Guest(machine, job.script(), sinks) as guest:
            return guest.finish(limits.seconds, stop)

    def _boots(self, kernel: Kernel) -> bool:
        machine = Machine(self.architecture, "kvm", kernel.image, initramfs.build(kernel))
        with Guest(machine, b"", {}) as guest:
            return guest.started(accelerator.DEADLINE_S)


def _environment(row: Row, which: str) -> dict[str, str]:
    return {
        ROW: row.name,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "TRACETW_PATIENCE": str(accelerator.PATIENCE[which]),
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    }


def _this_release() -> str:
    """Code name of the host's distribution."""
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    return ""
