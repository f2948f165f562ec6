# SPDX-License-Identifier: Apache-2.0
"""A command run to its end, whose words for people are fit for people."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.unit.hostile_names import assert_people_can_read
from tracetw.lab.play.child import environment
from tracetw.lab.polling import patient

__all__ = ["run"]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """It must succeed; nothing on standard error may be raw."""
    done = subprocess.run(
        [*map(str, words)],
        capture_output=True,
        encoding="utf-8",
        timeout=patient(60),
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_people_can_read(done.stderr)
    return done
