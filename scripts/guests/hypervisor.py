# SPDX-License-Identifier: Apache-2.0
"""From a row to a machine that can be switched on: kernel, root, accelerator, folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.guests import accelerator, initramfs
from scripts.guests.apt import Archive, find_mirror
from scripts.guests.architecture import Architecture, this_architecture
from scripts.guests.cache import folder, say
from scripts.guests.guest import Guest, Outcome
from scripts.guests.job import Job
from scripts.guests.kernel import Kernel, cached, fetch
from scripts.guests.machine import Machine, Share
from scripts.guests.root import Root, host_root, release_root
from scripts.guests.rows import HOST, ROOT, Row

__all__ = ["RESULTS", "Hypervisor", "Limits", "Sink"]

# Where the guest finds the folder that the host keeps.
RESULTS = "/run/results"
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
    """Runs commands under the kernels of rows.

    Args:
        mirror: of Debian; None takes the host's.
        accelerator: ``kvm`` or ``tcg``; None tries.
    """

    mirror: str | None = None
    accelerator: str | None = None
    architecture: Architecture = field(default_factory=this_architecture)

    def archive(self, suite: str) -> Archive:
        """A suite of Debian."""
        if self.mirror is None:
            self.mirror = find_mirror()
        name = f"{suite}-{self.architecture.debian}"
        return Archive(suite, self.architecture.debian, self.mirror, folder("apt", name))

    def kernel(self, row: Row, *, newest: bool = False) -> Kernel:
        """Its kernel out of the cache, else (or for the newest one) from the distribution."""
        shelf = folder("kernels", f"{row.kernel}-{self.architecture.debian}")
        have = None if newest else cached(shelf)
        return have or fetch(
            shelf, f"linux-image-{self.architecture.debian}", self.archive, row.kernel
        )

    def root(self, row: Row, *, newest: bool = False) -> Root:
        """The file system that its guest shows."""
        if row.root in {HOST, _this_release()}:
            return host_root()
        shelf = folder("roots", f"{row.root}-{self.architecture.debian}")
        return release_root(shelf, lambda: self.archive(row.root), newest=newest)

    def chosen_accelerator(self, kernel: Kernel) -> str:
        """What was asked for, or what works."""
        if self.accelerator is None:
            self.accelerator = accelerator.choose(lambda: self._boots(kernel))
        return self.accelerator

    def run(
        self,
        row: Row,
        argv: Sequence[str],
        sinks: Mapping[str, Sink],
        limits: Limits,
        results: Path | None = None,
    ) -> Outcome:
        """A command of this checkout in a guest."""
        kernel, root = self.kernel(row), self.root(row)
        which = self.chosen_accelerator(kernel)
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
            self.architecture,
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
            _environment(which),
            venv=root.venv is not None,
            results="" if results is None else RESULTS,
        )
        say(f"{row.name}: booting {kernel.release} ({which})")
        with Guest(machine, job.script(), sinks) as guest:
            return guest.finish(limits.seconds)

    def _boots(self, kernel: Kernel) -> bool:
        machine = Machine(self.architecture, "kvm", kernel.image, initramfs.build(kernel))
        with Guest(machine, b"", {}) as guest:
            return guest.started(accelerator.DEADLINE_S)


def _environment(which: str) -> dict[str, str]:
    return {
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
