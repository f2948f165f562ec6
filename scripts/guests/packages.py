# SPDX-License-Identifier: Apache-2.0
"""What is installed in a root, as its dpkg has noted it."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.guests.paragraph import fields

__all__ = ["installed", "upstream"]


def installed(root: Path, package: str) -> str:
    """Upstream's part of the version; "" when it is not known, as without dpkg."""
    try:
        status = root.joinpath("var", "lib", "dpkg", "status").read_text(encoding="utf-8")
    except OSError:
        return ""
    _, found, rest = f"\n{status}".partition(f"\nPackage: {package}\n")
    return upstream(fields(rest).get("Version", "")) if found else ""


def upstream(version: str) -> str:
    """6.1.176 of 6.1.176-1, 0.26.0 of 1:0.26.0+ds-1."""
    return re.split(r"[-+~]", version.rpartition(":")[2], maxsplit=1)[0]
