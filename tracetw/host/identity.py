# SPDX-License-Identifier: Apache-2.0
"""Which host this is, beyond its name: an installation has a machine id, each start a boot id."""

from __future__ import annotations

import hmac
import re
from pathlib import Path

_MACHINE_ID = Path("/etc/machine-id")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FORM = re.compile(r"[0-9a-f]{32}")
_APPLICATION = b"tracetw recording"


def boot_id() -> str:
    """A UUID that the kernel draws at each start (random(4)). Containers share that of their host."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def machine_id(path: Path = _MACHINE_ID) -> str | None:
    """32 hex digits that stay with this installation; None where it has no machine id.

    Not the id itself, which machine-id(5) asks to keep confidential, but a keyed hash of it, as
    ``sd_id128_get_machine_app_specific()`` makes one.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    if not _FORM.fullmatch(text) or not int(text, 16):
        return None  # "uninitialized", as in the image of a container
    return hmac.new(bytes.fromhex(text), _APPLICATION, "sha256").hexdigest()[:32]
