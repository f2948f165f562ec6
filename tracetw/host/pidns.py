# SPDX-License-Identifier: Apache-2.0
"""Whether the numbers of processes in ``/proc`` are those that the kernel side of the tracer sees.

BPF programs read ``task_struct.tgid``, the number in the kernel's first PID namespace. A ``/proc`` of
another namespace gives the same processes other numbers, and the same numbers to other processes.
"""

from __future__ import annotations

from pathlib import Path

_KTHREADD = Path("/proc/2/stat")
_FLAGS = 6  # counted from the state, behind the name: proc_pid_stat(5)
_PF_KTHREAD = 0x00200000  # include/linux/sched.h, bpf/sock.h


def numbered_as_the_kernel(kthreadd: Path = _KTHREADD) -> bool:
    """Is the ``/proc`` mounted here that of the first PID namespace? False when that is unknown.

    What counts is where ``/proc`` was mounted, not where this process is. Kernel threads are in the
    first namespace alone, where process 2 starts them all (``kthreadd()``). No program can set
    PF_KTHREAD, and the file needs no permission, unlike ``/proc/1/ns/pid``.
    """
    try:
        fields = kthreadd.read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return len(fields) > _FLAGS and bool(int(fields[_FLAGS]) & _PF_KTHREAD)
