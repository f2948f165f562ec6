# SPDX-License-Identifier: Apache-2.0
"""The bpf(2) system call, as far as we need it: create a map, load a program, attach it, ask about one.

BCC compiles; maps and programs are made here, so that a cached image needs no BCC, kfunc calls can be
resolved in between, and no release of BCC's library decides how.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass

# asm/unistd.h
_SYS_BPF = {"x86_64": 321, "aarch64": 280, "ppc64le": 361, "s390x": 351, "riscv64": 280}
# enum bpf_cmd, enum bpf_prog_type: include/uapi/linux/bpf.h
_MAP_CREATE, _MAP_UPDATE_ELEM, _PROG_LOAD, _OBJ_GET_INFO_BY_FD = 0, 2, 5, 15
_RAW_TRACEPOINT_OPEN, _MAP_FREEZE = 17, 22
# enum bpf_map_type
ARRAY_OF_MAPS = 12
KPROBE, RAW_TRACEPOINT, TRACING = 2, 17, 26
# enum bpf_attach_type: what a program of type TRACING does with its function.
TRACE_FENTRY, TRACE_FEXIT = 24, 25
_LOG_SIZE = 1 << 20
# struct bpf_prog_info: its size, and the offset of what is read.
_INFO_SIZE = 232
_MISSES = 208

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class ProgramType:
    """What the kernel is to check a program as.

    Attributes:
        type: enum bpf_prog_type.
        attach_type: enum bpf_attach_type, for TRACING.
        function: BTF id of the function that a TRACING program belongs to.
    """

    type: int = RAW_TRACEPOINT
    attach_type: int = 0
    function: int = 0


def _bpf(command: int, attributes: bytes) -> int:
    """The system call. Raises OSError."""
    buffer = ctypes.create_string_buffer(attributes, 128)
    result = int(_libc.syscall(_SYS_BPF[platform.machine()], command, buffer, 128))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def create_map(name: str, shape: tuple[int, int, int, int, int], inner: int = 0) -> int:
    """Create a map; its descriptor. Raises OSError.

    Args:
        name: the kernel keeps 15 characters.
        shape: type, key size, value size, entries, flags.
        inner: of an array of maps: descriptor of one like those that it is to have.
    """
    return _bpf(_MAP_CREATE, struct.pack("=IIIIII4x16s", *shape, inner, name.encode()[:15]))


def put_map(outer: int, place: int, inner: int) -> None:
    """Put a map into an array of maps. Raises OSError."""
    _put(outer, place, struct.pack("=I", inner))


def fill_and_freeze(map_fd: int, content: bytes) -> None:
    """Write the one element of an array map, for good: later the kernel refuses. Raises OSError."""
    _put(map_fd, 0, content)
    _bpf(_MAP_FREEZE, struct.pack("=I", map_fd))


def _put(map_fd: int, place: int, content: bytes) -> None:
    key, value = ctypes.c_uint32(place), ctypes.create_string_buffer(content, len(content))
    addresses = ctypes.addressof(key), ctypes.addressof(value)
    _bpf(_MAP_UPDATE_ELEM, struct.pack("=I4xQQQ", map_fd, *addresses, 0))


def load(name: str, code: bytes, kind: ProgramType | None = None) -> int:
    """Load a program, a raw tracepoint's unless ``kind`` says otherwise; its descriptor.

    Raises OSError, with the verifier's words.
    """
    kind = kind or ProgramType()
    text = ctypes.create_string_buffer(code)
    license_text = ctypes.create_string_buffer(b"GPL")

    def attempt(level: int, log: ctypes.Array[ctypes.c_char] | None) -> int:
        return _bpf(
            _PROG_LOAD,
            struct.pack(
                "=IIQQIIQII16sII36xI",
                kind.type,
                len(code) // 8,
                ctypes.addressof(text),
                ctypes.addressof(license_text),
                level,
                len(log) if log else 0,
                ctypes.addressof(log) if log else 0,
                0,
                0,
                name.encode()[:15],
                0,
                kind.attach_type,
                kind.function,
            ),
        )

    try:
        return attempt(0, None)
    except OSError as refused:
        log = ctypes.create_string_buffer(_LOG_SIZE)
        try:
            return attempt(1, log)
        except OSError:
            words = log.value.decode(errors="replace").strip().splitlines()
            tail = "; ".join(words[-4:])
            raise OSError(refused.errno, f"{name}: {refused.strerror}: {tail}") from refused


def open_raw_tracepoint(program: int, event: str | None) -> int:
    """Attach to a raw tracepoint; the descriptor that holds it. Raises OSError.

    A TRACING program knows its function: it takes None.
    """
    name = ctypes.create_string_buffer(event.encode()) if event else None
    address = ctypes.addressof(name) if name else 0
    return _bpf(_RAW_TRACEPOINT_OPEN, struct.pack("=QII", address, program, 0))


class Misses:
    """Asks programs how many of their runs were skipped, since the program was already running on that CPU.

    Raw tracepoints skip them since Linux kernel commit 05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw
    tracepoint probes") (in v6.1). Asked each time that records are read: so what is asked is made once.

    Args:
        fds: descriptors of the programs, which stay open.
    """

    def __init__(self, fds: Sequence[int]) -> None:
        self._number = _SYS_BPF[platform.machine()]
        self._infos = ctypes.create_string_buffer(len(fds) * _INFO_SIZE)
        begin = ctypes.addressof(self._infos)
        self._asked = [
            ctypes.create_string_buffer(
                struct.pack("=IIQ", fd, _INFO_SIZE, begin + at * _INFO_SIZE), 128
            )
            for at, fd in enumerate(fds)
        ]

    def total(self) -> int:
        """Of all programs since they were loaded; 0 on a kernel that does not count them. Raises OSError."""
        # The kernel would take its last answer for the sizes of buffers to fill (bpf_prog_get_info_by_fd).
        ctypes.memset(self._infos, 0, len(self._infos))
        for asked in self._asked:
            if _libc.syscall(self._number, _OBJ_GET_INFO_BY_FD, asked, 128) < 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))
        return sum(
            int(struct.unpack_from("=Q", self._infos, at * _INFO_SIZE + _MISSES)[0])
            for at in range(len(self._asked))
        )
