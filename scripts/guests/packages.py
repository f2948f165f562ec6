# SPDX-License-Identifier: Apache-2.0
"""Versions of what a root has."""

from __future__ import annotations

import re
from pathlib import Path

# Roots of another architecture have no list of what dpkg installed: the package says it of itself.
_BCC = Path("usr", "lib", "python3", "dist-packages", "bcc", "version.py")


def bcc_version(root: Path) -> str:
    """Of the distribution's BCC in that root; "" where there is none."""
    try:
        said = re.search(r"""__version__ = ['"]([\w.+~-]+)""", (root / _BCC).read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    return upstream(said[1]) if said else ""


def upstream(version: str) -> str:
    """6.1.176 of 6.1.176-1, 0.26.0 of 1:0.26.0+ds-1."""
    return re.split(r"[-+~]", version.rpartition(":")[2], maxsplit=1)[0]
