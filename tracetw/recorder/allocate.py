# SPDX-License-Identifier: Apache-2.0
"""Room on the disk before it is needed: fallocate(2), which Python has only as posix_fallocate(3)."""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, include/uapi/linux/falloc.h
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


def allocate(fd: int, offset: int, length: int) -> bool:
    """Make sure that writing these bytes will not fail for want of room; the size stays.

    False where the file system cannot promise that. Raises OSError when there is no room.
    """
    while _libc.fallocate(fd, _KEEP_SIZE, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        number = ctypes.get_errno()
        if number in _UNSUPPORTED:
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True
