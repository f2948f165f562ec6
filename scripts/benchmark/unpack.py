# SPDX-License-Identifier: Apache-2.0
"""Programs out of the distribution's packages, in a folder of ours: nothing is installed.

Installing a web server would also start it, on port 80 of this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from scripts.benchmark.errors import NotStarted

__all__ = ["Programs", "find"]

LIMIT_S = 120
PLACES = ("usr/sbin", "usr/bin", "sbin", "bin")


class Programs:
    """Paths of programs by name, and the environment in which they find their libraries."""

    def __init__(self, paths: Mapping[str, str], libraries: tuple[str, ...] = ()) -> None:
        self.paths = paths
        self.environment = dict(os.environ)
        if libraries:
            self.environment["LD_LIBRARY_PATH"] = ":".join(libraries)


def find(packages: Mapping[str, str], folder: Path) -> Programs:
    """Each program (its package by its name), from PATH or else unpacked into ``folder``.

    Raises NotStarted with what is missing.
    """
    searched = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    paths = {name: found for name in packages if (found := shutil.which(name, path=searched))}
    missing = {name: package for name, package in packages.items() if name not in paths}
    if not missing:
        return Programs(paths)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotStarted(f"not on PATH: {', '.join(missing)}; install {' '.join(missing.values())}")
    root = _unpacked(tuple(missing.values()), folder)
    for name, package in missing.items():
        unpacked = [path for place in PLACES if (path := root / place / name).exists()]
        if not unpacked:
            raise NotStarted(f"no {name} in the package {package}")
        paths[name] = str(unpacked[0])
    libraries = sorted({str(path.parent) for path in root.rglob("*.so.*")})
    return Programs(paths, tuple(libraries))


def _unpacked(packages: tuple[str, ...], folder: Path) -> Path:
    """The packages, and what they depend on that is not installed here."""
    archives, root = folder / "archives", folder / "root"
    (archives / "partial").mkdir(parents=True)
    root.mkdir()
    fetch = [
        *("apt-get", "-y", "-q", "-o", f"Dir::Cache::archives={archives}"),
        *("-o", "APT::Sandbox::User=root", "--download-only", "--no-install-recommends"),
        *("install", *packages),
    ]
    try:
        # The lists may be missing or stale: they are fetched only when it does not work without.
        if _run(fetch):
            _run(["apt-get", "-q", "update"])
            if said := _run(fetch):
                raise NotStarted(f"cannot fetch {' '.join(packages)}: {said}")
        for archive in sorted(archives.glob("*.deb")):
            if said := _run(["dpkg-deb", "-x", str(archive), str(root)]):
                raise NotStarted(f"cannot unpack {archive.name}: {said}")
    except subprocess.TimeoutExpired as error:
        raise NotStarted(f"{error.cmd[0]} took more than {LIMIT_S} s") from error
    return root


def _run(command: list[str]) -> str:
    """The last line of its complaints; an empty text when it worked."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode == 0:
        return ""
    return next(reversed(done.stderr.strip().splitlines()), f"exit {done.returncode}")
