# SPDX-License-Identifier: Apache-2.0
"""The file system of a guest with another processor than the host's: its programs cannot be run here.

So its packages are unpacked and nothing more: no script of a package runs, and what those of the few packages that
matter would do is done here. Its virtual environment is put together from wheels.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.guests.apt import Archive
from scripts.guests.cache import locked
from scripts.guests.command import run
from scripts.guests.root import EXTRAS, PACKAGES, Root, bootstrap, on_shelf, reaching_an_index, venv

# Of the releases of glibc for which a wheel may be built, and which the roots here have.
_GLIBC = range(17, 42)
_FOLDERS = ("dev", "proc", "sys", "run", "root", "tmp", "var/cache", "var/tmp")


def foreign_root(shelf: Path, archive: Callable[[], Archive], *, newest: bool) -> Root:
    """As release_root of :mod:`scripts.guests.root`."""
    made = on_shelf(shelf, archive, _make, newest=newest)
    architecture = shelf.name.rpartition("-")[2]
    with locked(shelf, f"the root {shelf.name}"):
        return Root(made / "root", venv(made, lambda root, into: _set_up(root, into, architecture)))


def _make(folder: Path, source: Archive) -> None:
    root = folder / "root"
    # Dependencies name everything else; those on essential packages are not written down.
    options = ("--variant=extract", f"--architectures={source.architecture}")
    bootstrap(root, source, PACKAGES, (*options, "--include=?essential"))
    for name in _FOLDERS:
        root.joinpath(name).mkdir(parents=True, exist_ok=True)
    # base-passwd: postinst.
    for name in ("passwd", "group"):
        shutil.copy(root / "usr/share/base-passwd" / f"{name}.master", root / "etc" / name)


def _set_up(root: Path, skeleton: Path, architecture: str) -> None:
    """A virtual environment as scripts/setup.bash makes it."""
    (library,) = root.glob("usr/lib/python3.*[0-9]")
    minor, home = library.suffix[1:], skeleton / ".venv"
    site = home / "lib" / library.name / "site-packages"
    site.mkdir(parents=True)
    machine = {"arm64": "aarch64", "amd64": "x86_64"}[architecture]
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--only-binary=:all:"]
    options += [f"--target={site}", f"--python-version=3.{minor}", "--implementation=cp"]
    options += [f"--abi=cp3{minor}", "--abi=abi3", "--abi=none"]
    options += [f"--platform=manylinux_2_{number}_{machine}" for number in reversed(_GLIBC)]
    options += [f"--platform=manylinux2014_{machine}"]
    wanted = _requirements(skeleton / "pyproject.toml")
    run(
        [sys.executable, "-I", "-m", "pip", "install", *options, "--", *wanted], reaching_an_index()
    )
    site.joinpath("tracetw-checkout.pth").write_text("../../../..\n")
    home.joinpath("bin").mkdir()
    for name in ("python", "python3"):
        home.joinpath("bin", name).symlink_to("/usr/bin/python3")
    home.joinpath("pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.{minor}\n"
    )
    bcc = "/usr/lib/python3/dist-packages/bcc/libbcc.py"
    head = (f"/usr/bin/{library.name}", bcc, " ".join(("base", *EXTRAS)))
    project = (skeleton / "pyproject.toml").read_text(encoding="utf-8")
    home.joinpath(".set-up").write_text("\n".join((*head, project)), encoding="utf-8")


def _requirements(file: Path) -> Sequence[str]:
    try:
        import tomllib  # noqa: PLC0415 - since Python 3.11
    except ImportError:
        from pip._vendor import tomli as tomllib  # type: ignore[no-redef]  # noqa: PLC0415
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    extras = [project["optional-dependencies"][name] for name in EXTRAS]
    return list(
        dict.fromkeys([*project["dependencies"], *(each for some in extras for each in some)])
    )
