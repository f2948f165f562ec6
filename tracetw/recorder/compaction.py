# SPDX-License-Identifier: Apache-2.0
"""Compacting closed segments one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from tracetw import isolated
from tracetw.recorder.compact import HURRY

__all__ = ["Compaction"]

_WITHOUT_PYARROW = 3


class Compaction:
    """A queue. What cannot be compacted stays as it is, which is readable too.

    Args:
        copies: hard links to a segment.
        done: called with a segment whose process has ended.
        say: takes one line for the user.
    """

    def __init__(
        self,
        copies: Callable[[Path], Sequence[Path]],
        done: Callable[[Path], None],
        say: Callable[[str], None],
    ) -> None:
        self._copies = copies
        self._done = done
        self._say = say
        self._queue: deque[Path] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._off = False
        self._hurry = False
        self._busy: Path | None = None

    def add(self, path: Path) -> None:
        """Compact it when its turn comes."""
        if not self._off:
            self._queue.append(path)

    def poll(self) -> None:
        """Take note of a process that has ended; start the next one."""
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                return
            self._ended(status)
        while self._queue and self._process is None:
            path = self._queue.popleft()
            if path.exists():
                self._start(path)

    def forget(self, path: Path) -> None:
        """It is about to be deleted. What a trigger kept of it is compacted in its place."""
        if path == self._busy and self._process is not None:
            self._process.kill()
            self._process.wait()
            self._busy = self._process = None
        elif path in self._queue:
            self._queue.remove(path)
        else:
            return
        self._queue.extend(self._copies(path))

    def finish(self) -> None:
        """Do everything that is left, in a hurry: somebody waits."""
        self._hurry = True
        self.poll()
        while self._process is not None:
            self._ended(self._process.wait())
            self.poll()

    def _start(self, path: Path) -> None:
        files = map(str, (path, *self._copies(path)))
        words = isolated.command("tracetw.recorder.compact", *files)
        if self._hurry:
            words.append(HURRY)
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env=isolated.environment(),
            )
        except OSError as error:
            self._say(f"cannot start the compaction of {path}: {error.strerror}")
            return
        self._busy = path

    def _ended(self, status: int) -> None:
        path, self._busy, self._process = self._busy, None, None
        if status == _WITHOUT_PYARROW:
            self._off = True
            self._queue.clear()
            self._say("segments stay as they are, four times as large")
        if path is not None:
            self._done(path)
