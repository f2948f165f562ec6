# SPDX-License-Identifier: Apache-2.0
"""Places as a program leaves them that is stopped in its midst: taken, and with content.

Of events they are each CPU's own (bpf/place.h), of close records the slots behind those of the table (spare_take).
"""

from __future__ import annotations

import ctypes
import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import CLOSE, EVENT
from tracetw.kernel.load import bpf
from tracetw.kernel.load.session import Session
from tracetw.kernel.plan import WAYS

__all__ = ["PLACES", "SPARE_PLACES", "EventRoom", "SpareRoom", "element"]

PLACES = 4
"""As in bpf/place.h."""
SPARE_PLACES = WAYS
_LOOKUP, _UPDATE = 1, 2  # enum bpf_cmd
_PATTERN = 0xA5
_BUSY = 1  # KEY_BUSY of bpf/prelude.h


class EventRoom:
    """The places of events."""

    def __init__(self, session: Session) -> None:
        self._fd = session._fds["map:event_rooms"]
        one = np.dtype([("is", "u1", EVENT.itemsize), ("busy", "<u8")])
        self._dtype = np.dtype([("none", "<u8"), ("at", one, PLACES)])
        last = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip()
        self._cpus = int(re.split("[-,]", last)[-1]) + 1

    def take(self, *places: int) -> None:
        """They are in use on every CPU, in the midst of an event."""
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
        _call(command, self._fd, 0, content)


class SpareRoom:
    """The places of close records that find no slot in the table."""

    def __init__(self, session: Session) -> None:
        first, sets = session.plan.sizes.closed_slots, session.plan.sizes.spare_sets
        slots = sets * WAYS
        keys = session._table("closed_keys", np.dtype("<u8"), slots, first, writable=True)
        bytes_ = np.dtype(("u1", CLOSE.itemsize))
        self._keys = keys.reshape(sets, WAYS)
        record = np.dtype([("is", bytes_)])
        self._records = session._table("closed", record, slots, first, writable=True)
        self._records = self._records.reshape(sets, WAYS)

    def take(self, *places: int) -> None:
        """They are in use for every CPU, in the midst of a record."""
        for place in places:
            self._records["is"][:, place] = _PATTERN
            self._keys[:, place] = _BUSY

    def untouched(self, *places: int) -> bool:
        """Is what :meth:`take` left still there, and does nobody use another place?"""
        busy = [place for place in range(WAYS) if self._keys[:, place].any()]
        return busy == sorted(places) and bool(
            (self._records["is"][:, list(places)] == _PATTERN).all()
        )


def element(session: Session, name: str, number: int) -> bytes:
    """One element of an array map."""
    fd = session._fds[f"map:{name}"]
    info = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
    content = bytearray(int(info.split("value_size:")[1].split()[0]))
    _call(_LOOKUP, fd, number, content)
    return bytes(content)


def _call(command: int, fd: int, number: int, content: bytearray) -> None:
    key = ctypes.c_uint32(number)
    value = (ctypes.c_char * len(content)).from_buffer(content)
    addresses = ctypes.addressof(key), ctypes.addressof(value)
    bpf._bpf(command, struct.pack("=I4xQQQ", fd, *addresses, 0))
