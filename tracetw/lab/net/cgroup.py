# SPDX-License-Identifier: Apache-2.0
"""Control groups, of version 1 or 2, as the machine has them: to name processes and limit them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tracetw.lab.net.reaper import note_group
from tracetw.lab.polling import eventually


@dataclass(frozen=True, slots=True)
class Controller:
    """Where groups are made, and the names of the version's files."""

    root: Path
    limit: str
    events: str


def _mounts(kind: str) -> list[tuple[Path, str]]:
    """Mount point and options of every mounted file system of a kind."""
    found = []
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, name, options, *_ = line.split()
        if name == kind:
            found.append((Path(point), options))
    return found


def mounted() -> str:
    """What is mounted of either version, as the proof that a controller is not."""
    groups = [f"{point} ({options})" for point, options in _mounts("cgroup")]
    for point, _ in _mounts("cgroup2"):
        groups.append(f"{point} (2: {(point / 'cgroup.controllers').read_text().strip()})")
    return ", ".join(groups) or "no control groups"


def _own_group(controllers: str) -> str:
    """This process's group in the hierarchy of ``controllers`` ("" for version 2), without "/"."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, group = line.split(":", 2)
        if controllers in names.split(","):
            return group.lstrip("/")
    return ""


def version_1() -> Controller | None:
    """The memory controller of version 1, if it is mounted."""
    for point, options in _mounts("cgroup"):
        if "memory" in options.split(","):
            return Controller(
                point / _own_group("memory"), "memory.limit_in_bytes", "memory.oom_control"
            )
    return None


def version_2() -> Controller | None:
    """The memory controller of version 2, where a group of ours could have it."""
    for point, _ in _mounts("cgroup2"):
        # Groups with processes give no controllers to groups below: take the root.
        if "memory" in (point / "cgroup.subtree_control").read_text().split():
            return Controller(point, "memory.max", "memory.events")
    return None


class Group:
    """A control group with a limit on memory."""

    def __init__(self, controller: Controller, limit_bytes: int) -> None:
        self._controller = controller
        self.path = controller.root / f"kt{secrets.token_hex(3)}"
        note_group(self.path)
        self.path.mkdir()
        (self.path / controller.limit).write_text(str(limit_bytes))

    def add(self, pid: int) -> None:
        """Move a process here."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def oom_kills(self) -> int:
        """Processes that the kernel has killed here."""
        events = (self.path / self._controller.events).read_text()
        return int(events.split("oom_kill ")[1].split()[0])

    def empty(self) -> bool:
        """Nobody is here."""
        return not (self.path / "cgroup.procs").read_text()


@contextmanager
def limited(controller: Controller, limit_bytes: int) -> Iterator[Group]:
    """A group for the processes that die in it."""
    group = Group(controller, limit_bytes)
    try:
        yield group
    finally:
        eventually(group.empty)
        group.path.rmdir()


@contextmanager
def joined(pid: int) -> Iterator[str | None]:
    """The process is in a fresh group of version 2, whose path is given; None without version 2."""
    mounts = _mounts("cgroup2")
    if not mounts:
        yield None
        return
    root = mounts[0][0]
    before = Path(f"/proc/{pid}/cgroup").read_text().split("0::", 1)[1].split("\n")[0]
    name = f"kt{secrets.token_hex(3)}"
    note_group(root / name)
    (root / name).mkdir()
    (root / name / "cgroup.procs").write_text(str(pid))
    try:
        yield f"/{name}"
    finally:
        if Path(f"/proc/{pid}").exists():
            (root / before.lstrip("/") / "cgroup.procs").write_text(str(pid))
        (root / name).rmdir()
