# SPDX-License-Identifier: Apache-2.0
"""Which BPF objects a process holds, and which of them the kernel still has."""

from __future__ import annotations

import ctypes
import platform
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

Held: TypeAlias = set[tuple[str, int]]

# include/uapi/linux/bpf.h, enum bpf_cmd.
GET_NEXT_ID = {"prog_id": 11, "map_id": 12, "link_id": 31}
SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]

_libc = ctypes.CDLL(None, use_errno=True)


class _NextId(ctypes.Structure):
    """``union bpf_attr`` for the BPF_*_GET_NEXT_ID commands."""

    _fields_ = (
        ("start_id", ctypes.c_uint32),
        ("next_id", ctypes.c_uint32),
        ("open_flags", ctypes.c_uint32),
    )


def held_by(pid: int) -> Held:
    """Programs, maps and links behind the descriptors of a process."""
    found: Held = set()
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            for line in file.read_text().splitlines():
                name, _, value = line.partition(":")
                if name in GET_NEXT_ID:
                    found.add((name, int(value)))
    return found


def alive() -> Held:
    """Every program, map and link of the kernel."""
    found: Held = set()
    for name, command in GET_NEXT_ID.items():
        attributes = _NextId()
        while not _libc.syscall(
            SYS_BPF, command, ctypes.byref(attributes), ctypes.sizeof(attributes)
        ):
            found.add((name, attributes.next_id))
            attributes.start_id = attributes.next_id
    return found
