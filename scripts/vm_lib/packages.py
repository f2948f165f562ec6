# SPDX-License-Identifier: Apache-2.0
"""What is installed in a root, as its dpkg has noted it."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.vm_lib.paragraph import fields

__all__ = ["installed"]


def installed(root: Path, package: str) -> str:
    """Upstream's part of the version; "" when it is not known, as without dpkg."""
    try:
        status = root.joinpath("var", "lib", "dpkg", "status").read_text(encoding="utf-8")
    except OSError:
        return ""
    _, found, rest = f"\n{status}".partition(f"\nPackage: {package}\n")
    version = fields(rest).get("Version", "") if found else ""
    upstream = version.rpartition(":")[2]
    return re.split(r"[-+~]", upstream, maxsplit=1)[0]
