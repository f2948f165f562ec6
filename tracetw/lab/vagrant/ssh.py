# SPDX-License-Identifier: Apache-2.0
"""The way to a machine: its agent at the other end of ssh, and orders with answers."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracetw.lab.net.spawn import popen
from tracetw.lab.polling import STOP, NotPlayed, patient
from tracetw.lab.vagrant.agent import decoded, encoded

CHECKOUT = "/opt/tracetw"
AGENT = f"{CHECKOUT}/tracetw/lab/vagrant/agent.py"
_ANSWER_S = 60.0
# The machine may be gone: ssh must say so, and must not wait for the TCP of this host to notice.
_OPTIONS = (
    "-oBatchMode=yes",
    "-oConnectTimeout=15",
    "-oServerAliveInterval=5",
    "-oServerAliveCountMax=3",
    "-oLogLevel=ERROR",
)


def over_ssh(name: str, configuration: Path) -> list[str]:
    """The command that leads to the agent of a machine; ``configuration`` is a file for ssh."""
    # -S: no package of the machine can change what the agent is made of.
    agent = ("sudo", "-n", "python3", "-I", "-S", AGENT)
    return ["ssh", "-F", str(configuration), *_OPTIONS, name, *agent]


class MachineLost(NotPlayed):
    """The machine does not answer any more."""


class Way:
    """Orders for the agent of one machine; from any thread.

    Args:
        name: of the machine.
        argv: a program whose standard input and output lead to its agent.
    """

    def __init__(self, name: str, argv: Sequence[str]) -> None:
        self.name = name
        pipe = subprocess.PIPE
        self._process = popen(argv, stdin=pipe, stdout=pipe, stderr=pipe)
        self._orders, self._answers = self._process.stdin, self._process.stdout
        self._changed = threading.Condition()
        self._ready: dict[int, dict[str, Any]] = {}
        self._number = 0
        self._gone = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for text in self._answers or ():
            try:
                answer = json.loads(text)
            except ValueError:
                break  # no agent speaks there
            with self._changed:
                self._ready[int(answer["id"])] = answer
                self._changed.notify_all()
        with self._changed:
            self._gone = True
            self._changed.notify_all()

    def ask(self, verb: str, *arguments: Any, wait_s: float = _ANSWER_S) -> Any:  # noqa: ANN401 (JSON)
        """The value of an order. Raises OSError as it was raised there, :class:`MachineLost`, NotPlayed."""
        return self.answer(self.order(verb, *arguments), wait_s)

    def order(self, verb: str, *arguments: Any) -> int:  # noqa: ANN401 (JSON)
        """Give an order; the number by which :meth:`answer` knows it."""
        with self._changed:
            self._number += 1
            number = self._number
            line = json.dumps({"id": number, "verb": verb, "args": encoded(list(arguments))})
            try:
                if self._orders is not None:
                    self._orders.write(line.encode() + b"\n")
                    self._orders.flush()
            except (OSError, ValueError) as error:
                raise MachineLost(self._why()) from error
        return number

    def answer(self, number: int, wait_s: float = _ANSWER_S) -> Any:  # noqa: ANN401 (JSON)
        """Wait for the end of an order."""
        end = time.monotonic() + patient(wait_s)
        with self._changed:
            while number not in self._ready:
                if self._gone:
                    raise MachineLost(self._why())
                if STOP.is_set():
                    raise NotPlayed("stopped")
                if time.monotonic() > end:
                    raise MachineLost(f"{self.name} did not answer within {patient(wait_s):.0f} s")
                self._changed.wait(0.2)
            answer = self._ready.pop(number)
        if "error" in answer:
            kind, number_, text = answer["error"]
            if kind == "OSError" and number_:
                raise OSError(number_, text)
            if kind == "timeout":
                raise TimeoutError(text)
            raise NotPlayed(f"{self.name}: {kind}: {text}")
        return decoded(answer["value"])

    def _why(self) -> str:
        said, errors = b"", self._process.stderr
        if errors is not None and not errors.closed and self._process.poll() is not None:
            said = errors.read()
        words = " ".join(said.decode(errors="replace").split())
        return f"{self.name} does not answer: {words or 'the connection has ended'}"

    def close(self) -> None:
        """End ssh; the agent and all that it started end with it. May be called twice."""
        self._process.kill()
        self._process.wait()
        for stream in (self._orders, self._answers, self._process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except (BrokenPipeError, ValueError):
                    continue

    @staticmethod
    def words(argv: Sequence[str]) -> str:
        """A command for messages."""
        return " ".join(argv)
