# SPDX-License-Identifier: Apache-2.0
"""A real terminal with something in it: a tmux server of its own, of 80 columns and 24 lines."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tracetw.lab.play.child import COMMAND, ROOT, environment
from tracetw.lab.polling import NotPlayed, eventually, patient

__all__ = ["Screen", "screen"]


class Screen:
    """What tmux shows."""

    def __init__(self, folder: Path) -> None:
        self._tmux = ("tmux", "-S", str(folder / f"tmux-{secrets.token_hex(4)}"), "-f", "/dev/null")
        self._folder = folder

    def start(self, words: Sequence[str], size: tuple[int, int] = (80, 24)) -> None:
        """Run tracetw with these words; the shell that does waits afterwards and shows its code."""
        command = shlex.join((*COMMAND, *words))
        script = f"stty size; {command}; echo ended with $?; exec sleep 600"
        width, height = map(str, size)
        self._run("new-session", "-d", "-x", width, "-y", height, "sh", "-c", script)

    @property
    def pid(self) -> int:
        """Of tracetw."""
        shell = self._run("list-panes", "-F", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        return int(children[0])

    def keys(self, *names: str) -> None:
        """Press keys, as tmux names them."""
        self._run("send-keys", *names)

    def lines(self, *, colours: bool = False) -> list[str]:
        """What is on it."""
        return self._run("capture-pane", "-p", *(["-e"] if colours else [])).split("\n")[:-1]

    def text(self) -> str:
        """The same."""
        return "\n".join(self.lines())

    def until(self, holds: Callable[[str], object], seconds: float = 20) -> str:
        """Wait for something to be on it."""
        try:
            eventually(lambda: holds(self.text()), seconds)
        except NotPlayed:
            raise AssertionError(self.text()) from None
        return self.text()

    def resize(self, width: int, height: int) -> None:
        """Another size."""
        self._run("resize-window", "-x", str(width), "-y", str(height))

    def end(self) -> None:
        """Whatever runs in it."""
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False)

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words],
            cwd=ROOT,
            env={**environment(), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"},
            capture_output=True,
            text=True,
            check=True,
            timeout=patient(30),
        )
        return done.stdout


@contextmanager
def screen(folder: Path) -> Iterator[Screen]:
    """A terminal that goes with the context."""
    if shutil.which("tmux") is None:
        assert not os.environ.get("CI"), "tmux is missing"
        pytest.skip("tmux is missing")
    made = Screen(folder)
    try:
        yield made
    finally:
        made.end()
