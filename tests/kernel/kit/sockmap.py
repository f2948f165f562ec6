# SPDX-License-Identifier: Apache-2.0
"""A sockmap that sockets can be put into: messages pass a BPF program that lets all of them through."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from scripts.benchmark.bpf import CALL

__all__ = ["sockmap"]

# enum bpf_cmd, bpf_map_type, bpf_prog_type, bpf_attach_type (include/uapi/linux/bpf.h)
MAP_CREATE, MAP_UPDATE, PROG_LOAD, PROG_ATTACH = 0, 2, 5, 8
SOCKMAP, SK_MSG, SK_MSG_VERDICT = 15, 16, 7
PASS = bytes([0xB7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])  # r0 = SK_PASS; exit

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, layout: str, *fields: int) -> int:
    attr = ctypes.create_string_buffer(struct.pack(layout, *fields), 128)
    result = int(_libc.syscall(CALL[os.uname().machine], command, attr, len(attr)))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command})")
    return result


@contextmanager
def sockmap() -> Iterator[Callable[[socket.socket], None]]:
    """Puts a connected socket into a sockmap, while in the context. Raises OSError where there are none."""
    with ExitStack() as held:

        def fd(command: int, layout: str, *fields: int) -> int:
            made = _bpf(command, layout, *fields)
            held.callback(os.close, made)
            return made

        code, licence = ctypes.create_string_buffer(PASS), ctypes.create_string_buffer(b"GPL")
        table = fd(MAP_CREATE, "=IIII", SOCKMAP, 4, 4, 8)
        places = ctypes.addressof(code), ctypes.addressof(licence)
        program = fd(PROG_LOAD, "=IIQQ", SK_MSG, len(PASS) // 8, *places)
        _bpf(PROG_ATTACH, "=III", table, program, SK_MSG_VERDICT)
        used = iter(range(8))

        def put(end: socket.socket) -> None:
            key, value = ctypes.c_uint32(next(used)), ctypes.c_uint32(end.fileno())
            _bpf(MAP_UPDATE, "=IIQQQ", table, 0, ctypes.addressof(key), ctypes.addressof(value), 0)

        yield put
