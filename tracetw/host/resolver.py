# SPDX-License-Identifier: Apache-2.0
"""Names of addresses from the system's resolver, asked only for who wants that: it may ask the network.

Threads ask, a few at a time. Who wants a name does not wait, or waits for a bounded time: until an answer is there, the
address has no name. What a name server answers is hostile: it is decoded here, and printed as every name is.
"""

from __future__ import annotations

import ipaddress
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping

from tracetw.text import well_formed

MOST = 4096
"""Addresses to ask for, at most."""
PATIENCE_S = 5.0
"""How long who has time waits for names."""
_AT_ONCE = 8
_OPTIONS = "timeout:1 attempts:2"
_NAME = 255
"""Bytes of a name (RFC 1035 2.3.4)."""


class Resolver:
    """Asks once for each address, for at most ``MOST`` of them.

    Args:
        patience_s: how long all calls together may wait for answers; 0: no call waits.
        lookup: the name of an address, or None; raises OSError.

    Attributes:
        asked: addresses asked for.
    """

    def __init__(
        self, patience_s: float = 0.0, lookup: Callable[[str], str | None] | None = None
    ) -> None:
        # Read by the C library when it is first asked (resolv.conf(5)); the user's own come first.
        os.environ.setdefault("RES_OPTIONS", _OPTIONS)
        self._left_s = patience_s
        self._lookup = lookup or _reverse
        self._answers: dict[str, str | None] = {}
        self._waiting: set[str] = set()
        self._passed: set[str] = set()
        self._changed = threading.Condition()
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._threads = 0
        self.asked = 0

    @property
    def passed(self) -> int:
        """Addresses not asked for, because they were too many; counted up to ``MOST``."""
        return len(self._passed)

    @property
    def unanswered(self) -> int:
        """Addresses asked for, of which no answer has come yet."""
        return len(self._waiting)

    def __call__(self, addresses: Collection[str]) -> Mapping[str, str]:
        """Names of those addresses of which one is known now. Never raises."""
        for address in addresses:
            self._ask(address)
        if self._left_s > 0 and self._waiting:
            self._wait()
        answers = self._answers
        return {one: name for one in addresses if (name := answers.get(one)) is not None}

    def told(self) -> str | None:
        """What is not known because of a bound, in words; None: nothing."""
        parts = []
        if self.passed:
            more = "or more " if self.passed >= MOST else ""
            parts.append(
                f"{self.passed:,} {more}addresses were not asked for: {MOST:,} are the most"
            )
        if self.unanswered:
            parts.append(f"{self.unanswered:,} of {self.asked:,} addresses had no answer in time")
        return "--resolve: " + ", ".join(parts) if parts else None

    def _ask(self, address: str) -> None:
        if address in self._answers or address in self._waiting:
            return
        if not _worth_asking(address):
            return
        if self.asked >= MOST:
            if len(self._passed) < MOST:
                self._passed.add(address)
            return
        self.asked += 1
        with self._changed:
            self._waiting.add(address)
        self._queue.put(address)
        if self._threads < _AT_ONCE:
            self._threads += 1
            threading.Thread(target=self._answer, name="tracetw-names", daemon=True).start()

    def _wait(self) -> None:
        begun = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, self._left_s)
        self._left_s -= time.monotonic() - begun

    def _answer(self) -> None:
        """A thread: one address after the other."""
        while True:
            address = self._queue.get()
            try:
                name = self._lookup(address)
            except (OSError, ValueError):  # no name; a name that is none (UnicodeError)
                name = None
            with self._changed:
                self._answers[address] = None if name is None else well_formed(name[:_NAME])
                self._waiting.discard(address)
                self._changed.notify_all()


def _worth_asking(address: str) -> bool:
    """No name server knows those of this host alone; what is no address is not asked for."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_link_local)


def _reverse(address: str) -> str | None:
    return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
