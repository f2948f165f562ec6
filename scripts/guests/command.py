# SPDX-License-Identifier: Apache-2.0
"""Running the programs of the host: their output only matters when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from scripts.guests.errors import Failed, Missing

_LAST_LINES = 12


def run(argv: Sequence[object], env: Mapping[str, str] | None = None) -> str:
    """The standard output; ``argv`` is made of words and paths. Raises Missing when there is no such program, Failed when it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", **(env or {})},
        )
    except FileNotFoundError as error:
        raise Missing(f"{words[0]} is not installed", "install it") from error
    if done.returncode:
        said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
        raise Failed(f"{words[0]} failed: {' | '.join(said[-_LAST_LINES:]) or done.returncode}")
    return done.stdout.decode(errors="replace")
