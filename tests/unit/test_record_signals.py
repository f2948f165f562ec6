# SPDX-License-Identifier: Apache-2.0
"""Which signals end a trace, and what SIGUSR1 does to a recorder."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any, cast

import pytest

from tracetw.live import run
from tracetw.recorder import make

HANDLED = (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Told:
    """A recorder that only listens."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def keep(self, reason: str) -> None:
        self.reasons.append(reason)


def test_those_of_a_terminal_stay_ignored() -> None:
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    every = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
    assert {*run._ending()} == every
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert {*run._ending()} == every - {signal.SIGHUP}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.SIGINT in {*run._ending()}, "how programs end what they started in the background"


def test_sigusr1_never_ends_a_recorder(capfd: pytest.CaptureFixture[str]) -> None:
    keep = make._Keep()
    signal.signal(make.KEEP_SIGNAL, keep)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert capfd.readouterr().err == make._NOTHING_KEPT.decode()
    told = Told()
    keep.recorder = cast("Any", told)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert told.reasons == ["signal"]
