# SPDX-License-Identifier: Apache-2.0
"""Places of each CPU (bpf/place.h) as a program leaves them that is stopped in its midst: taken, and with content."""

from __future__ import annotations

import ctypes
import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracetw.kernel.load import bpf

__all__ = ["PLACES", "Room"]

PLACES = 4
"""As in bpf/place.h."""
_LOOKUP, _UPDATE = 1, 2  # enum bpf_cmd
_PATTERN = 0xA5


class Room:
    """The places of one map of places.

    Args:
        fd: of the map.
        record: bytes of what is built in a place.
    """

    def __init__(self, fd: int, record: int) -> None:
        self._fd = fd
        one = np.dtype([("is", "u1", record), ("busy", "<u8")])
        self._dtype = np.dtype([("none", "<u8"), ("at", one, PLACES)])
        last = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip()
        self._cpus = int(re.split("[-,]", last)[-1]) + 1

    def take(self, *places: int) -> None:
        """They are in use on every CPU, in the midst of a record."""
        rooms = np.zeros(self._cpus, self._dtype)
        for place in places:
            rooms["at"]["busy"][:, place] = 1
            rooms["at"]["is"][:, place] = _PATTERN
        self._call(_UPDATE, bytearray(rooms.tobytes()))

    def untouched(self, *places: int) -> bool:
        """Is what :meth:`take` left still there, and does nobody use another place?"""
        content = bytearray(self._cpus * self._dtype.itemsize)
        self._call(_LOOKUP, content)
        at: NDArray[np.void] = np.frombuffer(content, self._dtype)["at"]
        busy = [place for place in range(PLACES) if at["busy"][:, place].any()]
        return busy == sorted(places) and bool((at["is"][:, list(places)] == _PATTERN).all())

    def _call(self, command: int, content: bytearray) -> None:
        key = ctypes.c_uint32(0)
        value = (ctypes.c_char * len(content)).from_buffer(content)
        addresses = ctypes.addressof(key), ctypes.addressof(value)
        bpf._bpf(command, struct.pack("=I4xQQQ", self._fd, *addresses, 0))
