# SPDX-License-Identifier: Apache-2.0
"""Giving up privileges once the hooks are attached.

The user id stays; what goes is every capability that reading does not need. Capabilities belong to
threads: call :func:`drop` before other threads start (a later thread inherits from its creator).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

READ_PROCESSES = frozenset({"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"})
"""To see which process holds a socket: ``/proc/<pid>/fd``, ``/proc/<pid>/ns``."""

ENTER_NAMESPACES = frozenset({"CAP_SYS_ADMIN"})
"""For setns(2): the counters of a named namespace without processes."""

# include/uapi/linux/capability.h: the number is the position.
_NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
_NUMBERS = {name: number for number, name in enumerate(_NAMES)}

_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def drop(keep: Iterable[str] = READ_PROCESSES) -> frozenset[str]:
    """Gives up every capability but ``keep``, for this thread and what it starts, for good.

    Of ``keep``, only what is held now can be kept. The bounding set shrinks likewise (where
    CAP_SETPCAP allows it) and no program started later can gain privileges. Returns what is held
    afterwards. Raises KeyError for an unknown name, OSError when the kernel refuses.
    """
    wanted = {_NUMBERS[name] for name in keep} & _effective()
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    if _NUMBERS["CAP_SETPCAP"] in _effective():
        for number in range(_last() + 1):
            if number not in wanted:
                _check(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0))
    header = _Header(_VERSION_3, 0)
    data = (_Data * 2)()
    for number in wanted:
        word, bit = divmod(number, 32)
        data[word].effective |= 1 << bit
        data[word].permitted |= 1 << bit
    _check(libc.capset(ctypes.byref(header), data))
    return frozenset(held())


def held() -> set[str]:
    """Names of the effective capabilities of this thread; ``cap_N`` for one newer than the list."""
    return {_NAMES[number] if number < len(_NAMES) else f"cap_{number}" for number in _effective()}


def _effective() -> set[int]:
    with open("/proc/thread-self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                mask = int(line.split()[1], 16)
                return {number for number in range(64) if mask >> number & 1}
    return set()


def _last() -> int:
    """Number of the newest capability of this kernel."""
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return len(_NAMES) - 1


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
