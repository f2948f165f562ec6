# SPDX-License-Identifier: Apache-2.0
"""The rows of ``vagrant/boxes.yaml``: which kernels, and why."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.guests.distribution import Distribution
from scripts.guests.distribution import parse as distribution
from scripts.guests.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "vagrant" / "boxes.yaml"
HOST = "host"
_DEFAULTS = ("tests", "timeout", "capabilities")
_FIELDS = {
    "reason": str,
    "distribution": str,
    "architecture": str,
    "kernel": str,
    "root": str,
    "root_reason": str,
    "box": str,
    "ci": str,
    "tests": str,
    "timeout": int,
    "capabilities": list,
}
_NEEDED = {"reason", "kernel", "root", *_DEFAULTS}


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel. The fields are described on top of the file."""

    name: str
    reason: str
    kernel: str
    root: str
    tests: tuple[str, ...]
    timeout: int
    capabilities: frozenset[str]
    distribution: str = "debian"
    architecture: str = ""
    root_reason: str = ""
    box: str = ""
    ci: tuple[str, ...] = ()

    @property
    def virtual(self) -> bool:
        """Does it need a virtual machine?"""
        return self.kernel != HOST


def parse(text: str, where: str) -> tuple[Row, ...]:
    """The rows. Raises BadInput that names what is wrong and in which row."""
    document = _section(text, "rows", where)
    defaults = document.get("defaults", {})
    found = []
    for name, fields in document["rows"].items():
        if not isinstance(fields, dict):
            raise BadInput(f"{where}: row {name}: {fields!r} has no fields")
        whole = {**defaults, **fields}
        if {type(each.get("capabilities")) for each in (defaults, fields)} == {list}:
            # What every kernel has is not said again.
            whole["capabilities"] = [*defaults["capabilities"], *fields["capabilities"]]
        found.append(_row(str(name), whole, where))
    return tuple(found)


def distributions() -> dict[str, Distribution]:
    """By name. Raises BadInput."""
    where = str(FILE.relative_to(ROOT))
    document = _section(FILE.read_text(encoding="utf-8"), "distributions", where)
    return {
        name: distribution(name, fields, where)
        for name, fields in document["distributions"].items()
    }


def _section(text: str, section: str, where: str) -> dict[str, Any]:
    """The whole file, which has this section."""
    import yaml  # noqa: PLC0415 - may just have been installed

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not isinstance(document.get(section), dict):
        raise BadInput(f"{where} has no {section}")
    return document


def _row(name: str, fields: Mapping[str, Any], where: str) -> Row:
    for problem in _problems(fields):
        raise BadInput(f"{where}: row {name}: {problem}")
    return Row(
        name,
        **{
            **fields,
            "tests": tuple(shlex.split(fields["tests"])),
            "ci": tuple(shlex.split(fields.get("ci", ""))),
            "capabilities": frozenset(fields["capabilities"]),
        },
    )


def _problems(fields: Mapping[str, Any]) -> Iterable[str]:
    for field in fields:
        if field not in _FIELDS:
            yield f"{field} is no field (there are {', '.join(_FIELDS)})"
        elif type(fields[field]) is not _FIELDS[field]:
            yield f"{field} is {fields[field]!r}, not a {_FIELDS[field].__name__}"
    for field in sorted(_NEEDED - set(fields)):
        yield f"{field} is missing"


def rows() -> tuple[Row, ...]:
    """All rows, in their order."""
    return parse(FILE.read_text(encoding="utf-8"), str(FILE.relative_to(ROOT)))


def chosen(names: Iterable[str]) -> tuple[Row, ...]:
    """Rows by name; all when none is named. Raises BadInput."""
    known = {row.name: row for row in rows()}
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in known:
            raise BadInput(f"there is no row {name}", f"rows are {', '.join(known)}")
    return tuple(known[name] for name in wanted or known)
