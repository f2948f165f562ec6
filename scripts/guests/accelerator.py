# SPDX-License-Identifier: Apache-2.0
"""KVM where it works, emulation elsewhere. That /dev/kvm can be opened does not say that a guest boots."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from scripts.guests.cache import folder, say

__all__ = ["PATIENCE", "choose"]

KVM = Path("/dev/kvm")
# Emulated code takes about ten times as long; deadlines of tests and scenarios are multiplied by this.
PATIENCE = {"kvm": 1.0, "tcg": 8.0, "none": 1.0}
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DEADLINE_S = 10.0


def choose(tried: Callable[[], bool]) -> str:
    """``kvm`` or ``tcg``. ``tried`` boots with KVM; what it says is remembered until the next boot."""
    if not os.access(KVM, os.R_OK | os.W_OK):
        say("no KVM here (/dev/kvm cannot be opened): emulating")
        return "tcg"
    note = folder() / "kvm.json"
    here = {"boot": _BOOT_ID.read_text().strip(), "kernel": _this_kernel()}
    known = _read(note)
    if {name: known.get(name) for name in here} != here:
        say(f"trying KVM, for at most {DEADLINE_S:.0f} s")
        known = {**here, "works": tried()}
        fresh = note.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(known) + "\n")
        fresh.rename(note)
    if known["works"] is True:
        return "kvm"
    say(f"KVM does not boot a guest on this host (remembered in {note}): emulating")
    return "tcg"


def _read(note: Path) -> dict[str, object]:
    try:
        known = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _this_kernel() -> str:
    """Release and build."""
    name = os.uname()
    return f"{name.release} {hashlib.sha256(name.version.encode()).hexdigest()[:8]}"
