# SPDX-License-Identifier: Apache-2.0
"""Packages that only some commands need: the extras of pyproject.toml, and the message without them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tracetw.errors import CannotTrace

EXTRAS: Mapping[str, Sequence[str]] = {
    "recording": ("pyarrow",),
    "query": ("duckdb", "pyarrow"),
    "lab": ("scapy",),
    "top": ("textual",),
}
"""Extra to the modules that it brings."""

_LONGEST = 300


def missing(extra: str) -> list[str]:
    """The modules of an extra that are not installed. Imports none: some take longer than a command."""
    return [name for name in EXTRAS[extra] if find_spec(name) is None]


def load(module: str, extra: str, what: str) -> Any:  # noqa: ANN401 - a module that has no types
    """Import ``module``, such as ``pyarrow.parquet``. ``what`` needs it.

    Raises CannotTrace that tells a package which is not installed from one that does not work here.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name == package:
            raise CannotTrace(
                f"{what} needs {package}, which is not installed", install(extra)
            ) from error
        raise CannotTrace(_broken(what, package, error), install(extra, again=True)) from error
    except Exception as error:  # whatever the start of another's package raises
        raise CannotTrace(_broken(what, package, error), install(extra, again=True)) from error


def install(extra: str, *, again: bool = False) -> str:
    """The command that installs an extra where tracetw is installed now."""
    name = f"'tracetw[{extra}]'"
    if Path(sys.prefix, "pipx_metadata.json").exists():
        return f"pipx install --force {name}"
    return f"pip install --force-reinstall {name}" if again else f"pip install {name}"


def one_line(error: BaseException) -> str:
    """What an error says, as one line that is not too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _broken(what: str, package: str, error: BaseException) -> str:
    return f"{what} needs {package}, which is installed and cannot be imported: {one_line(error)}"
