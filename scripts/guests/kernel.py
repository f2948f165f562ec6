# SPDX-License-Identifier: Apache-2.0
"""A kernel of the distribution, taken out of its packages without installing them."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.guests.apt import Archive
from scripts.guests.cache import locked, point, say, tidy
from scripts.guests.command import run
from scripts.guests.errors import Failed

__all__ = ["Kernel", "cached", "fetch"]

# What linux-image-* may lead to. Since 7.x image, modules and their lists are packages of their own;
# all else that it names (initramfs-tools, kmod, firmware) is for a machine that boots from a disk.
_PARTS = re.compile(r"linux-(?:image(?!-unsigned)|binary|modules|base)-[\w.+~-]+")
_BUSYBOX = "busybox-static"
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a guest needs to boot. ``folder`` holds ``vmlinuz``, ``busybox`` and ``lib/modules``."""

    folder: Path
    release: str

    @property
    def version(self) -> str:
        """Of its package. The release names what modules go with it and may stay the same."""
        return self.folder.name

    @property
    def image(self) -> Path:
        """The kernel itself."""
        return self.folder / "vmlinuz"

    @property
    def busybox(self) -> Path:
        """A static one, for the initramfs."""
        return self.folder / "busybox"

    @property
    def modules(self) -> Path:
        """What the guest sees as /lib/modules."""
        return self.folder / "lib" / "modules"

    @classmethod
    def at(cls, folder: Path) -> Kernel:
        """What :func:`fetch` left there. Raises Failed when it is not whole."""
        names = [path.parent.name for path in folder.glob("lib/modules/*/modules.dep")]
        if len(names) != 1 or not folder.joinpath("vmlinuz").is_file():
            raise Failed(f"{folder} holds no whole kernel", "remove that folder")
        return cls(folder, names[0])


def cached(shelf: Path) -> Kernel | None:
    """The newest kernel on this shelf, if any."""
    current = shelf / "current"
    return Kernel.at(current.resolve()) if current.exists() else None


def fetch(shelf: Path, package: str, archive: Callable[[str], Archive], suite: str) -> Kernel:
    """The newest kernel of a suite, put on its shelf when it is not there.

    Args:
        shelf: folder for the kernels of this suite.
        package: such as ``linux-image-amd64``.
        archive: opens a suite.
        suite: its name. What a backport lacks is taken from the release it is for.
    """
    with locked(shelf, f"the kernel of {suite}"):
        tidy(shelf, _KEPT)
        source = archive(suite)
        say(f"reading the package list of {suite}")
        source.update()
        parts = source.closure(package, _PARTS)
        folder = shelf / parts[package].replace(":", "_")
        if not folder.exists():
            base = suite.removesuffix("-backports")
            tools = source if base == suite else archive(base)
            if tools is not source:
                tools.update()
            _unpack(folder, source, parts, tools)
        point(shelf / "current", folder)
    return Kernel.at(folder)


def _unpack(folder: Path, source: Archive, parts: dict[str, str], tools: Archive) -> None:
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as name:
        raw, made = Path(name, "raw"), Path(name, "made")
        raw.mkdir()
        for part, version in parts.items():
            say(f"fetching {part} {version}")
            source.extract(part, version, raw)
        version = tools.show(_BUSYBOX)["Version"]
        say(f"fetching {_BUSYBOX} {version}")
        tools.extract(_BUSYBOX, version, raw)
        arrange(raw, made)
        made.rename(folder)


def arrange(raw: Path, made: Path) -> None:
    """From where packages have them, /usr merged or not, to where :class:`Kernel` has them."""
    (modules,) = _only(raw, "lib/modules/*", "usr/lib/modules/*", what="folder of modules")
    (image,) = _only(raw, "boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz", what="kernel image")
    (busybox,) = _only(raw, "bin/busybox", "usr/bin/busybox", what="busybox")
    made.joinpath("lib", "modules").mkdir(parents=True)
    shutil.move(image, made / "vmlinuz")
    shutil.move(busybox, made / "busybox")
    place = made / "lib" / "modules" / modules.name
    shutil.move(modules, place)
    # Where the modules were built and which initramfs they had is nothing for a guest.
    for link in ("build", "source"):
        place.joinpath(link).unlink(missing_ok=True)
    run(["depmod", "--basedir", made, modules.name])


def _only(raw: Path, *patterns: str, what: str) -> list[Path]:
    found = {path.resolve() for pattern in patterns for path in raw.glob(pattern)}
    if len(found) != 1:
        raise Failed(f"the packages hold {len(found)} times a {what}", "report it")
    return list(found)
