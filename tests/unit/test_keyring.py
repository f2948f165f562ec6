# SPDX-License-Identifier: Apache-2.0
"""One key out of a keyring (scripts/guests/keyring.py), tried on the keys of Debian."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from scripts.guests.apt import KEYRING
from scripts.guests.command import run
from scripts.guests.errors import Failed
from scripts.guests.keyring import fingerprints, pin


@pytest.fixture(autouse=True)
def needs() -> None:
    gpg = shutil.which("gpg")
    if gpg is None or not KEYRING.exists():
        pytest.skip(f"gpg: {gpg}; {KEYRING} exists: {KEYRING.exists()}; needs both")


def test_the_key_alone(tmp_path: Path) -> None:
    held = fingerprints(KEYRING)
    assert len(held) > 1
    one = pin(KEYRING, held[1], tmp_path / "one.gpg")
    assert fingerprints(one) == [held[1]]


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=f"has no key {'0' * 40}, only "):
        pin(KEYRING, "0" * 40, tmp_path / "one.gpg")
    assert list(tmp_path.iterdir()) == []


def test_a_short_id_is_not_enough(tmp_path: Path) -> None:
    short = fingerprints(KEYRING)[0][-16:]
    with pytest.raises(Failed, match=f"has no key {short}"):
        pin(KEYRING, short, tmp_path / "one.gpg")


def test_a_subkey_is_no_primary_key(tmp_path: Path) -> None:
    """gpg would export a key by the fingerprint of its subkey."""
    command = ["gpg", "--homedir", tmp_path, "--no-autostart", "--with-colons", "--show-keys"]
    lines = [line.split(":") for line in run([*command, KEYRING]).splitlines()]
    subkeys = [after[9] for line, after in itertools.pairwise(lines) if line[0] == "sub"]
    assert subkeys
    with pytest.raises(Failed, match=f"has no key {subkeys[0]}"):
        pin(KEYRING, subkeys[0], tmp_path / "one.gpg")


def test_what_is_no_keyring(tmp_path: Path) -> None:
    file = tmp_path / "text.gpg"
    file.write_text("no keys\n")
    with pytest.raises(Failed):
        pin(file, "0" * 40, tmp_path / "one.gpg")
