# SPDX-License-Identifier: Apache-2.0
"""How the C library keeps the memory that a burst of records needed."""

from __future__ import annotations

import ctypes

# malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# A batch of records and its lines are smaller. What is larger is mapped, and each of its pages is a fault.
_LARGE = 4 << 20
_KEPT = 8 << 20


def keep_little_memory() -> None:
    """What waited for the output is the kernel's again some time after it was written.

    glibc raises its limit for large blocks to the size of what was freed, keeps them then, and has
    an arena for each thread. Other C libraries have no ``mallopt``, and need none.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_M_ARENA_MAX, 1)


def give_memory_back() -> None:
    """Free pages are the kernel's again, those between blocks in use as well."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
