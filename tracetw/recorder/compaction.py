# SPDX-License-Identifier: Apache-2.0
"""Compacting closed segments one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from tracetw import isolated
from tracetw.recorder.compact import HURRY
from tracetw.recorder.store import Place, Store

_WITHOUT_PYARROW = 3


class Compaction:
    """A queue. What cannot be compacted stays as it is, which is readable too.

    Args:
        store: where the segments are.
        say: takes one line for the user.
    """

    def __init__(self, store: Store, say: Callable[[str], None]) -> None:
        self._store = store
        self._say = say
        self._queue: deque[Place] = deque(store.raw())
        self._process: subprocess.Popen[bytes] | None = None
        self._off = False
        self._hurry = False
        self._busy: Place | None = None

    def add(self, place: Place) -> None:
        """Compact it when its turn comes."""
        if not self._off:
            self._queue.append(place)

    def poll(self) -> None:
        """Take note of a process that has ended; start the next one."""
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                return
            self._ended(status)
        while self._queue and self._process is None:
            self._start(self._queue.popleft())

    def forget(self, place: Place) -> None:
        """It is about to be deleted. What a trigger kept of it is compacted in its place."""
        copies = self._store.copies(place)
        if place == self._busy and self._process is not None:
            self._process.kill()
            self._process.wait()
            self._busy = self._process = None
            for copy in copies:
                self._store.clean(copy)
        elif place in self._queue:
            self._queue.remove(place)
        else:
            return
        self._queue.extend(copies)

    def finish(self) -> None:
        """Compact the whole queue, in a hurry: somebody waits."""
        self._hurry = True
        self.poll()
        while self._process is not None:
            self._ended(self._process.wait())
            self.poll()

    def _start(self, place: Place) -> None:
        with ExitStack() as stack:
            try:
                words, descriptors = [str(self._store.shown(place))], []
                for each in (place, *self._store.copies(place)):
                    folder = stack.enter_context(self._store.enter(each))
                    # The process inherits the lock, and has it even when this one is killed.
                    if each is place and not folder.lock():
                        return
                    descriptors.append(folder.fd)
                    words.append(f"{folder.fd}/{each.name}")
                if self._hurry:
                    words.append(HURRY)
                self._process = subprocess.Popen(
                    isolated.command("tracetw.recorder.compact", *words),
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                    env=isolated.environment(),
                    pass_fds=descriptors,
                )
            except FileNotFoundError:  # somebody moved it away
                return
            except OSError as error:
                shown = self._store.shown(place)
                self._say(f"cannot start the compaction of {shown}: {error.strerror}")
                return
        self._busy = place

    def _ended(self, status: int) -> None:
        place, self._busy, self._process = self._busy, None, None
        if status == _WITHOUT_PYARROW:
            self._off = True
            self._queue.clear()
            self._say("segments stay as they are, four times as large")
        if place is not None:
            self._store.clean(place)
            for copy in self._store.copies(place) if status else ():
                self._store.clean(copy)
