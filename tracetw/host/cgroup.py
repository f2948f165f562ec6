# SPDX-License-Identifier: Apache-2.0
"""From a cgroup v2 id to its path, and from the path to a container.

The id that the kernel side reports is the inode number of the group's directory
(``kernfs_node.id``, equal to ``st_ino`` on 64-bit kernels since 5.5).
"""

from __future__ import annotations

import os
import re

from tracetw.text import well_formed

_RESCAN_S = 1.0
_MAX_PATHS = 65_536
_ID = r"[0-9a-f]{64}|[0-9a-f]{12}"
_RUNTIME = re.compile(
    # The group itself: docker-<id>.scope, cri-containerd-<id>.scope, and with the systemd driver
    # of older containerd kubepods-....slice:cri-containerd:<id>.
    rf"(?:^|:)(?:docker|cri-containerd|crio|libpod|nerdctl)[-:]({_ID})(?:\.scope)?$"
)
_UNITS = (".service", ".scope", ".socket", ".mount", ".swap")
_BARE = re.compile(r"^[0-9a-f]{64}$")


class Cgroups:
    """Paths of cgroups by id, read when first needed and kept.

    A group that was seen once keeps its path after it is gone: the last connections of a container
    are reported when its group no longer exists. Ids are not used twice.
    """

    def __init__(self, mount: str | None = None) -> None:
        """``mount`` is where cgroup2 is mounted; found by itself when None."""
        self._mount = mount_point() if mount is None else mount
        self._paths: dict[int, str] = {}
        self._scanned_s = float("-inf")

    def path(self, identity: int, now_s: float) -> str | None:
        r"""Path below the mount point (``/`` for the root), None when unknown.

        Bytes of it that are no UTF-8 are ``\xNN``, as everywhere (``tracetw.text.decoded``).

        An id that is not known starts a new scan, at most once a second of ``now_s`` (any clock
        that does not go back).
        """
        if identity == 0 or self._mount is None:
            return None
        found = self._paths.get(identity)
        if found is None and now_s - self._scanned_s >= _RESCAN_S:
            self._scanned_s = now_s
            seen = _scan(self._mount)
            keep = len(self._paths) + len(seen) <= _MAX_PATHS
            self._paths = {**self._paths, **seen} if keep else seen
            found = self._paths.get(identity)
        return found

    def paths(self) -> frozenset[str]:
        """Of all groups that are there now, as :meth:`path` writes them."""
        return frozenset() if self._mount is None else frozenset(_scan(self._mount).values())


def container(path: str | None) -> str | None:
    """The container id in a cgroup path as its runtime wrote it (64 or 12 hex digits), or None.

    The innermost one counts. Groups of a runtime's monitor (``libpod-conmon-``) are no containers.
    """
    if path is None:
        return None
    for part in reversed(path.split("/")):
        if match := _RUNTIME.search(part):
            return match[1]
        if _BARE.match(part):
            return part
    return None


def unit(path: str | None) -> str | None:
    """The unit of systemd that a cgroup path belongs to (``nginx.service``), or None.

    It is the first part that is no slice; a leading ``_`` escapes a name that the kernel uses itself
    (cg_path_decode_unit() in systemd).
    """
    for part in (path or "").split("/"):
        if part and not part.endswith(".slice"):
            name = part.removeprefix("_")
            return name if name.endswith(_UNITS) else None
    return None


def mount_point() -> str | None:
    """Where cgroup2 is mounted (``/sys/fs/cgroup``, on hybrid hosts below it); None: nowhere."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                fields, _, kind = line.partition(" - ")
                if kind.startswith("cgroup2 "):
                    return re.sub(
                        r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields.split()[4]
                    )
    except OSError:
        pass
    return None


def _scan(mount: str) -> dict[int, str]:
    """Every group below the mount point, by inode."""
    try:
        found = {os.stat(mount).st_ino: "/"}
    except OSError:
        return {}
    below = [""]
    while below:
        parent = below.pop()
        try:
            with os.scandir(mount + parent) as entries:
                children = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # removed meanwhile
        for child in children:
            path = f"{parent}/{child.name}"
            found[child.inode()] = well_formed(path)
            below.append(path)
    return found
