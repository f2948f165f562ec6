# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the signals they start with, and the programs that they use."""

from __future__ import annotations

import fcntl
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracetw.lab.net.reaper import guarded

SETUP = Path(__file__).parents[1] / "scripts" / "setup"

# A shell that runs us in the background, or nohup, may have them ignored, and so would all that we start.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def reaped() -> Iterator[None]:
    """What tests start, and the namespaces they make, do not outlive them, whatever ends them."""
    with guarded():
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--set-up``, which scripts/test gives."""
    parser.addoption("--set-up", action="store_true", help="install the programs that tests use")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Programs are installed when it is known which tests will run."""
    if not session.config.getoption("set_up") or session.config.option.collectonly:
        return
    wanted = ["tools"] if session.items else []
    if any(item.path.name == "test_vagrant_files.py" for item in session.items):
        wanted.append("vagrantfile")
    wanted += [
        mark
        for mark in ("browser", "roots")
        if any(item.get_closest_marker(mark) for item in session.items)
    ]
    if wanted:
        # With -n several processes come here at a time; those after the first find all in place.
        with SETUP.open() as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            subprocess.run([SETUP, *wanted], check=True, stdin=subprocess.DEVNULL)
