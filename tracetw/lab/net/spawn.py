# SPDX-License-Identifier: Apache-2.0
"""Starting programs and closing sockets, never both at once.

Between fork and exec a child holds a copy of every descriptor. Would a socket be closed meanwhile, the
last close, and with it the end of the connection, were the child's: the kernel would name the wrong
process, and be right.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracetw.lab.play.interrupt import SIGNALS

_one_at_a_time = threading.RLock()


class UnsharedSocket(socket.socket):
    """A socket whose close is not shared with a child that is just being made."""

    def close(self) -> None:
        """As :meth:`socket.socket.close`."""
        with _one_at_a_time:
            super().close()

    def accept(self) -> tuple[UnsharedSocket, Any]:
        """As :meth:`socket.socket.accept`; the connection is one of these as well."""
        plain, address = super().accept()
        made = UnsharedSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        made.settimeout(socket.getdefaulttimeout())
        return made, address


def popen(argv: Sequence[str | Path], **more: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 (as Popen)
    """As :class:`subprocess.Popen`, which returns when the program runs.

    Ctrl-C in a terminal is meant for the lab and does not reach it: an ``ip netns add`` that ends in
    the middle leaves half a namespace, and the lab ends by itself what it started. A session of its
    own comes too late for that, some time after the fork: so it has :data:`SIGNALS` blocked, what came
    before included, and whoever wants them lets them through.
    """
    with _one_at_a_time:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            return subprocess.Popen(argv, start_new_session=True, **more)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(argv: Sequence[str], text: str = "") -> tuple[int, str, str]:
    """Run a program to its end; exit status, standard output, standard error."""
    pipe = subprocess.PIPE
    with popen(argv, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        output, errors = process.communicate(text.encode())
    return process.returncode, output.decode(), errors.decode()
