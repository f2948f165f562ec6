# SPDX-License-Identifier: Apache-2.0
"""Python programs of ours that run as a process of their own, free of who started them.

``python3 -m`` would take modules from the current folder, from PYTHONPATH and from the home folder,
where a ``usercustomize.py`` runs in every Python. A child of root must not: it starts with ``-I``, and
finds tracetw where its parent's is. Run as a program, this file is what such a child starts with::

    isolated.py FOLDERS MODULE [ARGUMENT...]

FOLDERS are further places of packages, joined with ``os.pathsep``; "" for none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# Where packages are installed, by the last part of the path. The current folder is no such place.
_INSTALLED = ("site-packages", "dist-packages")
_NOT_FOR_CHILDREN = ("PYTHON", "BCC_")


def command(module: str, *arguments: str, packages: bool = True) -> list[str]:
    """The words that run ``module``, a dotted name in tracetw, as ``__main__``.

    Without ``packages`` it sees the standard library and tracetw, and no installed package.
    """
    options = ["-I"] if packages else ["-I", "-S"]
    if sys.dont_write_bytecode:
        options.append("-B")
    # -I leaves out the user's site-packages, where "pip install --user" puts what we need.
    seen = [path for path in sys.path if packages and path.endswith(_INSTALLED)]
    start = [str(Path(__file__).resolve()), os.pathsep.join(seen)]
    return [sys.executable, *options, *start, module, *arguments]


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """``os.environ``, or ``variables``, without what changes Python or BCC."""
    given = os.environ if variables is None else variables
    return {name: value for name, value in given.items() if not name.startswith(_NOT_FOR_CHILDREN)}


def _main() -> None:
    """What a child does first. Its imports are of the standard library alone."""
    from importlib.util import module_from_spec, spec_from_file_location  # noqa: PLC0415
    from runpy import run_module  # noqa: PLC0415

    _, folders, module, *arguments = sys.argv
    sys.path += [path for path in folders.split(os.pathsep) if path and path not in sys.path]
    sys.argv = [module, *arguments]
    spec = spec_from_file_location(
        "tracetw", _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no package in {_PACKAGE}")
    package = module_from_spec(spec)
    sys.modules["tracetw"] = package
    spec.loader.exec_module(package)
    run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
