# SPDX-License-Identifier: Apache-2.0
"""Names of addresses in ``/etc/hosts``: what is known of them here without asking anybody."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from tracetw.text import decoded

MOST = 4096
"""Addresses; those that come first in the file."""
_FILE = Path("/etc/hosts")
_LARGEST = 1 << 20
_NAME = 255
"""Bytes of a name (RFC 1035 2.3.4)."""


def read(path: Path = _FILE) -> Mapping[str, str]:
    """Address, as it is shown, to its canonical name: the first one of the first line that has it (hosts(5)).

    Of a file that is not there, or is none, nothing.
    """
    names: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST)
    except OSError:
        return names
    for line in text.split(b"\n"):
        fields = line.partition(b"#")[0].split()
        if len(fields) < 2:  # noqa: PLR2004 (an address and a name)
            continue
        with suppress(ValueError):
            address = ip_address(fields[0].decode("ascii", "replace"))
            mapped = getattr(address, "ipv4_mapped", None)
            names.setdefault(str(mapped or address), decoded(fields[1][:_NAME]))
            if len(names) == MOST:
                break
    return names
