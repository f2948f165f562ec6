# SPDX-License-Identifier: Apache-2.0
"""What a command needs beyond the base, asked for when its arguments are known to be good.

In a checkout ``scripts/setup`` installs it, and the command starts again. Elsewhere the user does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tracetw import extras
from tracetw.errors import CannotTrace

_ROOT = Path(__file__).resolve().parents[2]


def need(extra: str, command: str) -> None:
    """Return when the packages of ``extra`` are there; ``command`` needs them.

    Raises CannotTrace where tracetw is installed without them. In a checkout it ends the process
    when they cannot be installed, and begins it anew when they can: what they bring may be newer
    than what is loaded.
    """
    absent = extras.missing(extra)
    if not absent:
        return
    if not in_checkout():
        raise CannotTrace(
            f"tracetw {command} needs {' and '.join(absent)}, which is not installed here",
            extras.install(extra),
        )
    words = [str(_ROOT / "scripts" / "setup"), extra]
    # The name under which scripts/setup.bash speaks.
    named = os.environ | {"program": "tracetw"}
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=named, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)  # it has said why
    # Ctrl-C while Python starts would end in its traceback: tracetw/__main__.py lets it through.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - no shell is meant


def in_checkout() -> bool:
    """Does this run in the virtual environment that scripts/setup made?"""
    return (_ROOT / "scripts" / "setup").is_file() and Path(sys.prefix) == _ROOT / ".venv"
