# SPDX-License-Identifier: Apache-2.0
"""Runs a test again if it failed while the kernel kept events from every tracing program.

That a kernel does so, and that it happened meanwhile, its own trace buffer shows (kit/untold.py). What the tests of a
file share may have lost the event as well, so it is made anew; a failure without such an event counts at once.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.kernel.kit.untold import Event, Watch, watch

AGAIN = 2
"""How often a test may run again."""


@dataclass(slots=True)
class _File:
    """The file whose tests run, and what was kept from programs since its first test began."""

    path: Path
    undo: ExitStack = field(default_factory=ExitStack)
    watching: Watch = field(default_factory=lambda: Watch(None))

    def begin(self) -> None:
        self.watching = self.undo.enter_context(watch())

    def kept(self) -> list[Event]:
        return self.watching.events()

    def end(self) -> None:
        self.undo.close()


_FILE = pytest.StashKey[_File]()


def watched(session: pytest.Session) -> Path | None:
    """The file whose tests may run again now."""
    file = session.stash.get(_FILE, None)
    return None if file is None else file.path


def run(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """What ``pytest_runtest_protocol`` does for an item, with up to ``AGAIN`` more attempts."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    file = _file_of(item)
    for left in range(AGAIN, -1, -1):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        kept = file.kept() if left and any(report.failed for report in reports) else []
        if not kept:
            break
        print(f"\n{item.nodeid} runs again: the kernel kept {len(kept)} events from programs")
        with suppress(Exception):  # whatever it shares with others is of the attempt that failed
            item.session._setupstate.teardown_exact(None)
        file.end()
        file.begin()
        item._initrequest()  # type: ignore[attr-defined]  # as pytest does before each run
    if nextitem is None or nextitem.path != item.path:
        file.end()
        del item.session.stash[_FILE]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _file_of(item: pytest.Item) -> _File:
    """Of the item; begun if it is the first one of its file."""
    file = item.session.stash.get(_FILE, None)
    if file is None or file.path != item.path:
        if file is not None:
            file.end()
        file = item.session.stash[_FILE] = _File(item.path)
        file.begin()
    return file
