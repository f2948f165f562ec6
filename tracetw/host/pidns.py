# SPDX-License-Identifier: Apache-2.0
"""Whether the numbers of processes in ``/proc`` are those that the kernel side of the tracer sees.

BPF programs read ``task_struct.tgid``, the number in the kernel's first PID namespace. A ``/proc`` of
another namespace gives the same processes other numbers, and the same numbers to other processes.
"""

from __future__ import annotations

import os

__all__ = ["numbered_as_the_kernel"]

# PROC_PID_INIT_INO, include/linux/proc_ns.h: the inode of the first PID namespace, on every kernel.
_FIRST = 0xEFFFFFFC


def numbered_as_the_kernel() -> bool:
    """Is the ``/proc`` mounted here that of the first PID namespace? False when that is unknown.

    What counts is where ``/proc`` was mounted, not where this process is: process 1 in it is the
    first one of its namespace. Without the permission to ask that one, this process itself must be
    in the first namespace and have the number there that it has for itself.
    """
    try:
        return os.stat("/proc/1/ns/pid").st_ino == _FIRST
    except PermissionError:
        pass
    except OSError:
        return False
    try:
        own = os.readlink("/proc/self") == str(os.getpid())
        return own and os.stat("/proc/self/ns/pid").st_ino == _FIRST
    except OSError:
        return False
