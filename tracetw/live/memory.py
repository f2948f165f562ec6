# SPDX-License-Identifier: Apache-2.0
"""How the C library keeps the memory that a burst of records needed."""

from __future__ import annotations

import ctypes

__all__ = ["give_memory_back"]

# malloc.h of glibc.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE = 128 << 10


def give_memory_back() -> None:
    """What waited for the output is the kernel's again when it is written.

    glibc raises its limit for large blocks to the size of what was freed, keeps them then, and has
    an arena for each thread. Other C libraries have no ``mallopt``, and need none.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_ARENA_MAX, 1)
