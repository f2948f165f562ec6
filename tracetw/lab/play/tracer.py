# SPDX-License-Identifier: Apache-2.0
"""``tracetw trace -o json`` as a child process, and the lines it printed."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO, Any, TypeAlias

from tracetw.lab.play.child import COMMAND, READY, Child
from tracetw.lab.polling import LOOK_S, STOP, NotPlayed, patient, require

__all__ = ["Line", "Tracer"]

Line: TypeAlias = dict[str, Any]

STOP_DEADLINE_S = 15.0


class Tracer(Child):
    """Runs while in its context; ``stop`` ends it as Ctrl-C would and returns the summary.

    Give the traced command, if any, as the last of ``arguments`` behind ``--``. With ``sink``, an
    open file, standard output goes there and there are no ``lines``.
    """

    def __init__(
        self, *arguments: str, output: str = "json", sink: int | IO[Any] = subprocess.PIPE
    ) -> None:
        self.lines: list[Line] = []
        self._arrived = threading.Condition()
        super().__init__(
            [*COMMAND, "trace", "-o", output, "--ready-fd", READY, *arguments],
            stdout=sink,
            start_new_session=True,  # Ctrl-C in a terminal is the lab's to hear
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.await_ready()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        for text in self.process.stdout or ():
            line = json.loads(text)
            with self._arrived:
                self.lines.append(line)
                self._arrived.notify_all()
        with self._arrived:
            self._arrived.notify_all()

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
        require(status == expected_status, f"exit {status}: {self.said()}")
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

    def close(self) -> None:
        """Kill it if it still runs; its lines stay."""
        self.kill()
        self._reader.join(patient(STOP_DEADLINE_S))
        if self.process.stdout:
            self.process.stdout.close()
        super().close()
