# SPDX-License-Identifier: Apache-2.0
"""The few bpf(2) calls of a measurement: what a process has attached, and what its programs cost."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.errors import BenchError

__all__ = ["Runs", "attached", "counting", "empty_program", "runs"]

# __NR_bpf of each architecture
CALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
# enum bpf_cmd
PROG_LOAD, PROG_GET_FD_BY_ID, RAW_TRACEPOINT_OPEN, TASK_FD_QUERY, ENABLE_STATS = 5, 13, 17, 20, 32
PROG_TYPE_RAW_TRACEPOINT = 17
# r0 = 0; exit
NOTHING = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Runs:
    """Program runs counted so far, all CPUs, and their nanoseconds."""

    count: int
    ns: int

    def __sub__(self, earlier: Runs) -> Runs:
        return Runs(self.count - earlier.count, self.ns - earlier.ns)


def _bpf(command: int, layout: str, *fields: int) -> tuple[int, ctypes.Array[ctypes.c_char]]:
    """The result of bpf(2), and its union bpf_attr afterwards. Raises OSError."""
    call = CALL.get(platform.machine())
    if call is None:
        raise BenchError(f"bpf(2) is not known on {platform.machine()}")
    attr = ctypes.create_string_buffer(struct.pack(layout, *fields), 128)
    result = _libc.syscall(call, command, attr, len(attr))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command})")
    return result, attr


@contextmanager
def counting() -> Iterator[None]:
    """kernel.bpf_stats_enabled while in the context; a descriptor holds it, so nothing stays behind."""
    held, _ = _bpf(ENABLE_STATS, "=I", 0)
    try:
        yield
    finally:
        os.close(held)


@contextmanager
def empty_program(tracepoint: str) -> Iterator[int]:
    """A program that does nothing on a raw tracepoint, while in the context: its id. Raises OSError."""
    code = ctypes.create_string_buffer(NOTHING)
    licence = ctypes.create_string_buffer(b"GPL")
    name = ctypes.create_string_buffer(tracepoint.encode())
    count = len(NOTHING) // 8
    program, _ = _bpf(
        PROG_LOAD,
        "=IIQQ",
        PROG_TYPE_RAW_TRACEPOINT,
        count,
        ctypes.addressof(code),
        ctypes.addressof(licence),
    )
    try:
        link, _ = _bpf(RAW_TRACEPOINT_OPEN, "=QI", ctypes.addressof(name), program)
        try:
            yield int(_fdinfo("self", program)["prog_id"])
        finally:
            os.close(link)
    finally:
        os.close(program)


def _fdinfo(pid: int | str, fd: int | str) -> dict[str, str]:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {}


def _program_of(pid: int, fd: int, target: str) -> int | None:
    """Id of the program that a descriptor of another process keeps attached."""
    if target.startswith("anon_inode:bpf"):
        info = _fdinfo(pid, fd)
        return int(info["prog_id"]) if "link_id" in info and "prog_id" in info else None
    if target == "anon_inode:[perf_event]":
        with suppress(OSError):
            _, attr = _bpf(TASK_FD_QUERY, "=IIIIQII", pid, fd, 0, 0, 0, 0, 0)
            return int(struct.unpack_from("=I", attr.raw, 24)[0])
    return None


def attached(pids: Iterable[int]) -> frozenset[int]:
    """Ids of the programs that these processes keep attached."""
    found: set[int] = set()
    for pid in pids:
        with suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    program = _program_of(pid, int(link.name), str(link.readlink()))
                    if program is not None:
                        found.add(program)
    return frozenset(found)


def runs(programs: Iterable[int]) -> Runs:
    """What ``counting`` has counted for these programs. Raises OSError when one is gone."""
    total = Runs(0, 0)
    for program in programs:
        fd, _ = _bpf(PROG_GET_FD_BY_ID, "=II", program, 0)
        try:
            info = _fdinfo("self", fd)
        finally:
            os.close(fd)
        total = Runs(total.count + int(info["run_cnt"]), total.ns + int(info["run_time_ns"]))
    return total
