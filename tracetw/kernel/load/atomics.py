# SPDX-License-Identifier: Apache-2.0
"""Whether this kernel's BPF can compare and exchange, found out by loading a program that does.

Linux has it since commit 5ffa25502b5a ("bpf: Add instructions for atomic_[cmp]xchg"), 5.12. Its BTF does
not tell.
"""

from __future__ import annotations

import os
import struct

from tracetw.errors import shortage
from tracetw.kernel.load import bpf

__all__ = ["has_cmpxchg"]

# Of struct bpf_insn, include/uapi/linux/bpf.h: code, source and destination register, offset, immediate.
_INSN = struct.Struct("=BBhi")
_PROGRAM = (
    (0xB7, 0x00, 0, 0),  # r0 = 0
    (0x7B, 0x0A, -8, 0),  # *(u64 *)(r10 - 8) = r0
    (0xB7, 0x01, 0, 0),  # r1 = 0
    (0xDB, 0x1A, -8, 0xF1),  # r0 = cmpxchg((u64 *)(r10 - 8), r0, r1)
    (0xB7, 0x00, 0, 0),  # r0 = 0
    (0x95, 0x00, 0, 0),  # exit
)


def has_cmpxchg() -> bool:
    """False also where no program can be loaded at all: what is loaded next says why.

    Raises OSError when a limit of this process kept us from asking.
    """
    try:
        fd = bpf.load("cmpxchg", b"".join(_INSN.pack(*insn) for insn in _PROGRAM))
    except OSError as error:
        if shortage(error) is not None:
            raise
        return False
    os.close(fd)
    return True
