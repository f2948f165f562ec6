# SPDX-License-Identifier: Apache-2.0
"""Starting ``scripts/vm``, as a user would."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["ROOT", "VM", "vm"]

ROOT = Path(__file__).parents[2]
VM = str(ROOT / "scripts" / "vm")
_DEADLINE_S = 1800


def vm(*words: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end. The first time takes minutes: a kernel or a root is fetched."""
    return subprocess.run(
        [VM, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_DEADLINE_S,
    )
