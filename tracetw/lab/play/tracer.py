# SPDX-License-Identifier: Apache-2.0
"""``tracetw trace -o json`` as a child process, and the lines it printed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeAlias

from tracetw import isolated
from tracetw.errors import CannotTrace
from tracetw.lab.polling import LOOK_S, STOP, NotPlayed, patient, require

__all__ = ["COMMAND", "ROOT", "Line", "Tracer", "environment"]

Line: TypeAlias = dict[str, Any]

ROOT = Path(__file__).resolve().parents[3]
READY_DEADLINE_S = 60.0
"""It may have to compile on a machine that others keep busy."""
STOP_DEADLINE_S = 15.0
COMMAND = tuple(isolated.command("tracetw"))


def environment() -> dict[str, str]:
    """This environment with nothing that changes the output."""
    return {
        name: value
        for name, value in isolated.environment().items()
        if name not in ("NO_COLOR", "COLUMNS")
    }


class Tracer:
    """Runs while in its context; ``stop`` ends it as Ctrl-C would and returns the summary.

    Give the traced command, if any, as the last of ``arguments`` behind ``--``. With ``sink``, an
    open file, standard output goes there and there are no ``lines``.
    """

    def __init__(
        self, *arguments: str, output: str = "json", sink: int | IO[Any] = subprocess.PIPE
    ) -> None:
        self.lines: list[Line] = []
        self.ready_s = 0.0
        self._arrived = threading.Condition()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        ready, told = os.pipe()
        started = time.monotonic()
        try:
            self.process = subprocess.Popen(
                [*COMMAND, "trace", "-o", output, "--ready-fd", str(told), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=self._errors,
                pass_fds=(told,),
                env=environment(),
                start_new_session=True,  # Ctrl-C in a terminal is the lab's to hear
            )
        finally:
            os.close(told)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._await_ready(ready)
        except BaseException:
            self.process.kill()
            self.__exit__(None, None, None)
            raise
        finally:
            os.close(ready)
        self.ready_s = time.monotonic() - started

    def _await_ready(self, ready: int) -> None:
        # select() takes no descriptor above 1,023, and a lab at work holds that many.
        poll = select.poll()
        poll.register(ready, select.POLLIN)
        readable = poll.poll(patient(READY_DEADLINE_S) * 1000)
        if not readable or os.read(ready, 1) == b"":
            self.process.kill()
            self.process.wait()
            raise CannotTrace(
                f"the tracer did not start, exit {self.process.returncode}: {self.stderr().strip()}"
            )

    def _read(self) -> None:
        for text in self.process.stdout or ():
            line = json.loads(text)
            with self._arrived:
                self.lines.append(line)
                self._arrived.notify_all()
        with self._arrived:
            self._arrived.notify_all()

    def stderr(self) -> str:
        """What it wrote on standard error so far."""
        self._errors.seek(0)
        return self._errors.read()

    def select(self, **fields: object) -> list[Line]:
        """Lines so far whose top-level fields have these values."""
        with self._arrived:
            return [
                line
                for line in self.lines
                if all(line.get(name) == value for name, value in fields.items())
            ]

    def wait_for(self, wanted: Callable[[Line], bool], deadline_s: float = 5.0) -> Line:
        """The first line, earlier or later, that ``wanted`` accepts."""
        deadline_s = patient(deadline_s)
        end = time.monotonic() + deadline_s
        seen = 0
        with self._arrived:
            while True:
                for line in self.lines[seen:]:
                    if wanted(line):
                        return line
                seen = len(self.lines)
                left = end - time.monotonic()
                if left <= 0 or STOP.is_set():
                    recent = "\n".join(json.dumps(line) for line in self.lines[-4:])
                    raise NotPlayed(
                        f"no such line in {deadline_s} s; the last of {seen}:\n{recent}"
                    )
                self._arrived.wait(min(left, LOOK_S))

    def close_of(self, netns: int, deadline_s: float = 5.0) -> Line:
        """The ``close`` line of a namespace in which one connection ended."""
        return self.wait_for(
            lambda line: line["kind"] == "close" and line["netns"] == netns, deadline_s
        )

    def ended(self) -> int:
        """Wait for it to end by itself; its exit status."""
        status = self.process.wait(patient(STOP_DEADLINE_S))
        self._reader.join(patient(STOP_DEADLINE_S))
        return status

    def finish(self, expected_status: int = 0) -> Line:
        """Wait for it to end by itself; the last line, which must be the only summary."""
        status = self.ended()
        require(status == expected_status, f"exit {status}: {self.stderr()}")
        summaries = [line for line in self.lines if line["kind"] == "summary"]
        require(len(summaries) == 1, f"summaries: {summaries}")
        require(summaries == self.lines[-1:], f"the summary is not last: {self.lines[-2:]}")
        return summaries[0]

    def stop(self, expected_status: int = 0, number: int = signal.SIGINT) -> Line:
        """End it by a signal. Nothing may have been lost."""
        self.process.send_signal(number)
        summary = self.finish(expected_status)
        losses = [(line["records"], line["where"]) for line in self.select(kind="loss")]
        require(summary["lost"] == 0, f"{summary['lost']} records were lost: {losses}")
        return summary

    def __enter__(self) -> Tracer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(patient(STOP_DEADLINE_S))
        if self.process.stdout:
            self.process.stdout.close()
        self._errors.close()
