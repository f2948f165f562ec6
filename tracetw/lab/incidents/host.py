# SPDX-License-Identifier: Apache-2.0
"""``tracetw`` as if on a host of its own: with its name, its ids, and a clock that is ahead.

Run as a program by :mod:`tracetw.isolated`: ``host NAME AHEAD_NS ARGUMENT...``. It has a mount and a
UTS namespace of its own, in which the host name, ``/etc/machine-id`` and the boot id are other ones.
A clock that is ahead is that of this process: the kernel has one wall clock for all namespaces
(time_namespaces(7) has the monotonic clocks alone), and libfaketime does the same from outside.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import runpy
import socket
import sys
import tempfile
import time
import uuid
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS = 0x00020000, 0x04000000
MS_BIND, MS_REC, MS_SLAVE = 4096, 16384, 1 << 19

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def become(name: str) -> None:
    """From now on this process is on a host of that name, whose ids follow from the name."""
    _checked(_libc.unshare(CLONE_NEWNS | CLONE_NEWUTS), "unshare")
    _checked(_libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None), "mount /")
    socket.sethostname(name)
    number = hashlib.sha256(name.encode()).hexdigest()[:32]
    for path, text in (
        ("/etc/machine-id", number),
        ("/proc/sys/kernel/random/boot_id", str(uuid.UUID(number))),
    ):
        if not Path(path).exists():
            continue
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text + "\n")
            file.flush()
            source = file.name.encode()
            _checked(_libc.mount(source, path.encode(), None, MS_BIND, None), f"mount {path}")


def set_ahead(ahead_ns: int) -> None:
    """The wall clock of this process is that much ahead."""
    real_ns, real = time.time_ns, time.time
    time.time_ns = lambda: real_ns() + ahead_ns
    time.time = lambda: real() + ahead_ns / 1e9


def main() -> None:
    """Run ``tracetw`` with the rest of the words."""
    name, ahead, *arguments = sys.argv[1:]
    become(name)
    if int(ahead):
        set_ahead(int(ahead))
    sys.argv = ["tracetw", *arguments]
    os.environ.pop("HOSTNAME", None)
    runpy.run_module("tracetw", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
