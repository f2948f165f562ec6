# SPDX-License-Identifier: Apache-2.0
"""The file system of a guest: the host's, or a small one of another release with its own BCC.

The latter is made once, by mmdebstrap, and kept. It brings another Python, so it has a virtual environment
of its own, which the guest sees where the checkout has .venv. It is made by scripts/setup.bash, as
everywhere, run in a chroot on a folder with nothing but pyproject.toml beside.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.guests.apt import Archive
from scripts.guests.cache import locked, point, say, tidy
from scripts.guests.command import run
from scripts.guests.rows import ROOT

# For tracetw, for its lab and for the tests that are run in guests.
PACKAGES = (
    "ca-certificates",
    "gcc",
    "git",
    "iproute2",
    "kmod",
    "libc6-dev",
    "nftables",
    "procps",
    "python3",
    "python3-bpfcc",
    "python3-venv",
    "util-linux",
)
EXTRAS = ("recording", "query", "lab", "top", "test")
"""What the virtual environment of a root is set up for."""
# A root with another version of one of these is another root.
_NAMED_BY = ("python3", "python3-bpfcc")
_UNUSED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# Whatever ends us: what was mounted is gone with its namespace, and so are all processes in it.
APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
_KEPT = 2
_SET_UP = """
cp --remove-destination --dereference /etc/resolv.conf "$1/etc/resolv.conf"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
[ ! -d /etc/ssl/certs ] || mount --bind /etc/ssl/certs "$1/etc/ssl/certs"
mount --bind "$2" "$1/mnt"
root=$1
shift 2
exec chroot "$root" /bin/bash -ec '
	root=/mnt
	. /mnt/scripts/setup.bash
	setup "$@"
' sh "$@"
"""
_MADE_FROM = (ROOT / "pyproject.toml", ROOT / "scripts" / "setup.bash")
# How the host's pip reaches an index. Its other settings are about the host.
_PIP = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout")


@dataclass(frozen=True, slots=True)
class Root:
    """``path`` of its top; ``venv`` that takes the place of the checkout's, None for the host's."""

    path: Path
    venv: Path | None = None


def host_root() -> Root:
    """The host's own: its programs, its BCC, the checkout's own virtual environment."""
    return Root(Path("/"))


def release_root(shelf: Path, archive: Callable[[], Archive], *, newest: bool) -> Root:
    """One of another release, made when it is not on its shelf, or when it is no longer the newest."""

    def make(folder: Path, source: Archive) -> None:
        bootstrap(folder / "root", source, PACKAGES)

    made = on_shelf(shelf, archive, make, newest=newest)
    with locked(shelf, f"the root {shelf.name}"):
        return Root(made / "root", venv(made, set_up))


def on_shelf(
    shelf: Path,
    archive: Callable[[], Archive],
    make: Callable[[Path, Archive], None],
    *,
    newest: bool,
) -> Path:
    """The folder of a root, made when there is none, or with ``newest`` where it is not the newest."""
    current = shelf / "current"
    with locked(shelf, f"the root {shelf.name}"):
        if newest or not current.exists():
            tidy(shelf, _KEPT)
            source = archive()
            say(f"reading the package list of {source.suite}")
            source.update()
            folder = shelf / "_".join(source.show(name)["Version"] for name in _NAMED_BY)
            if not folder.exists():
                say(
                    f"making a root of {source.suite} with {', '.join(PACKAGES)}; this takes some minutes"
                )
                with tempfile.TemporaryDirectory(prefix=".new-", dir=shelf) as name:
                    made = Path(name, "made")
                    made.mkdir(mode=0o755)
                    make(made, source)
                    made.rename(folder)
            point(current, folder)
        return current.resolve()


def bootstrap(
    target: Path,
    source: Archive,
    packages: Sequence[str],
    options: Sequence[str] = ("--variant=minbase",),
) -> None:
    """A small root with these packages, made by mmdebstrap. Raises Failed."""
    with tempfile.TemporaryDirectory() as name:
        # Proxies and the like. mmdebstrap's apt does not read what the host has set.
        acquire = Path(name, "apt.conf")
        settings = run(["apt-config", "dump"]).splitlines()
        acquire.write_text(
            "".join(f"{line}\n" for line in settings if line.startswith("Acquire::"))
        )
        words = [
            *options,
            f"--include={','.join(packages)}",
            f"--aptopt={acquire}",
            f"--keyring={source.keyring}",
        ]
        words += [f"--dpkgopt=path-exclude={pattern}" for pattern in _UNUSED]
        words += ["--dpkgopt=force-unsafe-io", "--mode=root"]
        run([*APART, "mmdebstrap", *words, source.suite, target, *source.sources])


def venv(made: Path, set_up: Callable[[Path, Path], None]) -> Path:
    """For this checkout's requirements; several checkouts may have different ones.

    Args:
        made: folder of the root.
        set_up: makes ``.venv`` in its second argument, a folder with what a set-up reads, for the root in its first.
    """
    digest = hashlib.sha256(b"\0".join(part.read_bytes() for part in _MADE_FROM)).hexdigest()
    folder = made / "venvs" / digest[:16]
    if not folder.exists():
        say("setting up tracetw in that root")
        folder.parent.mkdir(exist_ok=True)
        tidy(folder.parent, _KEPT)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as name:
            skeleton = Path(name, "made")
            skeleton_of(skeleton)
            set_up(made / "root", skeleton)
            skeleton.rename(folder)
    return folder / ".venv"


def skeleton_of(folder: Path) -> None:
    """What a set-up reads of this checkout, in a folder of its own."""
    for part in _MADE_FROM:
        place = folder / part.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(part, place)


def set_up(root: Path, skeleton: Path, extras: Sequence[str] = EXTRAS) -> None:
    """Make a virtual environment in ``skeleton`` by the Python of ``root``. Raises Failed."""
    run([*APART, "sh", "-ec", _SET_UP, "sh", root, skeleton, *extras], reaching_an_index())


def reaching_an_index() -> dict[str, str]:
    """Variables by which a pip in a root reaches the index that the host's does."""
    listed = run([sys.executable, "-I", "-m", "pip", "config", "list"])
    settings = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in _PIP:
            settings[f"PIP_{option.upper().replace('-', '_')}"] = value.strip("'\"")
    settings.update(
        {name: "" for name in ("PIP_CONSTRAINT", "PIP_FIND_LINKS") if name in os.environ}
    )
    return settings
