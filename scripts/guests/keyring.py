# SPDX-License-Identifier: Apache-2.0
"""One key out of a keyring, chosen by its fingerprint: only that key is trusted, wherever the file came from."""

from __future__ import annotations

import tempfile
from pathlib import Path

from scripts.guests.command import run
from scripts.guests.errors import Failed


def fingerprints(keyring: Path) -> list[str]:
    """Of the primary keys in a keyring, 40 hexadecimal digits each. Raises Failed, and Missing without gpg."""
    found = []
    primary = False
    for line in _gpg("--show-keys", "--with-colons", keyring).splitlines():
        field = line.split(":")
        # The line "fpr" after "pub" is of the primary key, those after "sub" are of subkeys.
        if field[0] == "fpr" and primary:
            found.append(field[9])
        primary = field[0] == "pub"
    return found


def pin(keyring: Path, fingerprint: str, into: Path) -> Path:
    """Write a keyring with this key alone. Raises Failed when ``keyring`` does not hold it as a primary key.

    Returns:
        ``into``, a new file.
    """
    found = fingerprints(keyring)
    if fingerprint not in found:
        raise Failed(f"{keyring} has no key {fingerprint}, only {', '.join(found) or 'none'}")
    # --keyring takes a name without a slash for one in gpg's own folder.
    source = ("--no-default-keyring", "--keyring", keyring.absolute())
    _gpg(*source, "--output", into, "--export", fingerprint)
    if (exported := fingerprints(into)) != [fingerprint]:
        raise Failed(f"gpg exported {exported} instead of {fingerprint} alone")
    return into


def _gpg(*words: str | Path) -> str:
    """Run gpg with an empty home: no option, key or agent of the user has a say."""
    with tempfile.TemporaryDirectory() as home:
        return run(["gpg", "--homedir", home, "--batch", "--no-autostart", *words])
