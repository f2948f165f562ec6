# SPDX-License-Identifier: Apache-2.0
"""What ``tracetw doctor`` says under each kernel, kept as data: docs/kernels.md is made from it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from scripts.guests.errors import Failed
from scripts.guests.guest import Ending
from scripts.guests.hypervisor import Hypervisor, Limits
from scripts.guests.output import Through, explain
from scripts.guests.packages import bcc_version, upstream
from scripts.guests.rows import ROOT, Row

DATA = ROOT / "tests" / "data" / "kernels"
_DOCTOR = (str(ROOT / ".venv" / "bin" / "python"), "-I", "-m", "tracetw", "doctor", "-o", "json")


def survey(hypervisor: Hypervisor, row: Row, limits: Limits) -> dict[str, Any]:
    """Ask under the kernel of a row; the file of the row. Raises Failed."""
    text = _in_guest(hypervisor, row, limits) if row.virtual else _here()
    version = hypervisor.kernel(row).version if row.virtual else os.uname().release
    bcc = bcc_version(hypervisor.root(row).path)
    # Ubuntu's packages have the number of the build in their upstream version.
    kernel = ".".join(upstream(version).split(".")[:3])
    return document(row.name, kernel, bcc, json.loads(text)["capabilities"])


def document(
    row: str, kernel: str, bcc: str, capabilities: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The file of a kernel: what doctor says, without the host, the time and the settings."""
    return {"row": row, "kernel": kernel, "bcc": bcc, "capabilities": list(capabilities)}


def complaints(row: Row, found: Mapping[str, Any]) -> list[str]:
    """What the row lists in boxes.yaml and the kernel has not, and the reverse."""
    present = {each["slug"] for each in found["capabilities"] if each["present"]}
    missing, unlisted = sorted(row.capabilities - present), sorted(present - row.capabilities)
    said = []
    if missing:
        said.append(f"{row.name} must have and has not: {', '.join(missing)}")
    if unlisted:
        said.append(f"{row.name} has what its capabilities do not list: {', '.join(unlisted)}")
    return said


def _in_guest(hypervisor: Hypervisor, row: Row, limits: Limits) -> bytes:
    parts: list[bytes] = []
    outcome = hypervisor.run(row, _DOCTOR, {"out": parts.append, "err": Through(2)}, limits)
    explain(row.name, outcome)
    if outcome.ending is not Ending.EXIT or outcome.status:
        raise Failed(f"{row.name}: tracetw doctor did not end well", "see the messages above")
    return b"".join(parts)


def _here() -> bytes:
    done = subprocess.run(_DOCTOR, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise Failed("tracetw doctor did not end well on this host", "see the messages above")
    return done.stdout
