# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium driven over its DevTools pipe: no driver, no library.

Protocol: https://chromedevtools.github.io/devtools-protocol/. Messages are JSON, each ends in a NUL
(content/browser/devtools/devtools_pipe_handler.cc), on descriptors 3 (to it) and 4 (from it).
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Browser", "browser", "find_chromium", "texts"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_S = 30.0
_FREE_FD = 10


def find_chromium() -> str | None:
    """Path of the program, None when it is not installed."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page.

    Attributes:
        complaints: errors and warnings of the console, exceptions, violations of policies.
        requests: addresses that the page asked for.
    """

    def __init__(self, send: int, receive: int) -> None:
        self._send = send
        self._receive = receive
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._loads = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method and wait for its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def open(self, path: Path) -> None:
        """Show a file and wait until it is loaded."""
        before = self._loads
        self.call("Page.navigate", url=path.as_uri())
        while self._loads == before:
            self._next()

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def media(self, *, scheme: str = "light", medium: str = "screen") -> None:
        """Colour scheme and medium that the page sees."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=medium, features=features)

    def size(self, width: int, height: int) -> None:
        """Of the window, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def screenshot(self) -> bytes:
        """PNG of what the window shows; what the page does before it paints has been done."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            assert left > 0, "the browser does not answer"
            if select.select([self._receive], [], [], left)[0]:
                part = os.read(self._receive, 1 << 16)
                assert part, "the browser has gone"
                self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loads += 1
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.complaints.append(event["entry"]["text"])


def texts(shown: Browser, selector: str) -> list[str]:
    """Text of every element that a CSS selector finds."""
    found = shown.run(
        f"[...document.querySelectorAll({selector!r})].map((node) => node.textContent)"
    )
    assert isinstance(found, list)
    return found


@contextmanager
def browser(program: str, profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile, gone at the end."""
    pipes = [os.pipe(), os.pipe()]
    # Numbers above 4, so that placing them on 3 and 4 overwrites neither.
    theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FREE_FD) for fd in (pipes[0][0], pipes[1][1])]
    for fd in (pipes[0][0], pipes[1][1]):
        os.close(fd)
    arguments = [
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        f"--user-data-dir={profile}",
        "--remote-debugging-pipe",
    ]
    place = f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
    with subprocess.Popen(
        ["bash", "-c", place, "bash", *arguments],
        pass_fds=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        for fd in theirs:
            os.close(fd)
        send, receive = pipes[0][1], pipes[1][0]
        try:
            yield Browser(send, receive)
        finally:
            os.close(send)
            process.terminate()
            process.wait(timeout=_PATIENCE_S)
            os.close(receive)
