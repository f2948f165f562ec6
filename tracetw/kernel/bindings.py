# SPDX-License-Identifier: Apache-2.0
"""Where BCC's Python bindings are.

They come from the distribution, for its own Python, beside all its other Python packages. These must
not mix with ours, so the compiler loads the one package from its folder (:func:`load`): it is pure
Python, imports nothing but the standard library, and runs under other versions of Python as well.
"""

from __future__ import annotations

import site
import sys
from collections.abc import Iterator, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from tracetw.errors import CannotTrace

UNUSABLE = 3
"""Exit status of the compiler when they cannot be imported; the last line of its stderr says why."""
_DISTRIBUTION = Path("/usr/bin/python3")
# Debian and Ubuntu have one folder for all versions of Python 3, the others one for each.
_PLACES = (
    "usr/lib/python3/dist-packages",
    "usr/lib/{python}/site-packages",
    "usr/lib64/{python}/site-packages",
    "usr/local/lib/{python}/dist-packages",
    "usr/local/lib/{python}/site-packages",
)
_MARK = "libbcc.py"

# The package with BCC's Python bindings, by ID or ID_LIKE of os-release(5).
_PACKAGES = {
    "debian": "apt install python3-bpfcc",
    "ubuntu": "apt install python3-bpfcc",
    "fedora": "dnf install python3-bcc",
    "rhel": "dnf install python3-bcc",
    "suse": "zypper install python3-bcc",
    "arch": "pacman -S python-bcc",
    "alpine": "apk add py3-bcc",
}


def find(
    own: Sequence[str] | None = None,
    root: Path = Path("/"),
    release: Path = Path("/etc/os-release"),
) -> Path:
    """The folder of the package ``bcc``.

    Args:
        own: where this interpreter has packages; None asks it.
        root: of the file system.
        release: os-release(5), to say which package to install.

    Raises CannotTrace when there is none, or only what PyPI calls ``bcc``.
    """
    wrong = None
    for place in _places(own, root):
        for name in ("bcc", "bcc.py"):
            if not (place / name).exists():
                continue
            if (place / name / _MARK).is_file():
                return place / name
            wrong = wrong or place / name
    install = _install_command(release)
    if wrong is not None:
        raise CannotTrace(
            f"{wrong} is another project named bcc, not the BPF Compiler Collection",
            f"remove it ({sys.executable} -m pip uninstall bcc), then: {install}",
        )
    raise CannotTrace("BCC's Python bindings are not installed", f"install them: {install}")


def load(folder: Path) -> ModuleType:
    """The package in ``folder``, as :func:`find` gives it. Raises whatever its import raises."""
    spec = spec_from_file_location(
        "bcc", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is no package")
    module = module_from_spec(spec)
    sys.modules["bcc"] = module
    spec.loader.exec_module(module)
    return module


def _places(own: Sequence[str] | None, root: Path) -> Iterator[Path]:
    """Folders of packages, this interpreter's first: who built BCC put it there."""
    yield from map(Path, site.getsitepackages() if own is None else own)
    python = root.joinpath(*_DISTRIBUTION.parts[1:]).resolve().name
    for place in _PLACES:
        if "{python}" not in place:
            yield root / place
            continue
        yield root / place.format(python=python)
        yield from sorted(root.glob(place.format(python="python3*")), reverse=True)


def _install_command(release: Path) -> str:
    """How this distribution installs the bindings, from ID, then ID_LIKE of os-release(5)."""
    try:
        lines = release.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    for key in ("ID", "ID_LIKE"):
        for name in fields.get(key, "").strip("\"'").split():
            if name in _PACKAGES:
                return _PACKAGES[name]
    return "the distribution's package, python3-bpfcc or python3-bcc"
