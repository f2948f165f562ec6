# SPDX-License-Identifier: Apache-2.0
"""kprobes that live as long as a descriptor: perf_event_open(2) with the kernel's kprobe PMU.

It writes nothing to tracefs, so a tracer that dies leaves nothing there.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from pathlib import Path

# asm/unistd.h
_SYS_PERF_EVENT_OPEN = {
    "x86_64": 298,
    "aarch64": 241,
    "ppc64le": 319,
    "s390x": 331,
    "riscv64": 241,
}
# Since Linux kernel commit e12f03d7031a ("perf/core: Implement the 'perf_kprobe' PMU") (in v4.17)
_PMU = Path("/sys/bus/event_source/devices/kprobe")
# include/uapi/linux/perf_event.h
_ATTR = struct.Struct("=IIQ40xQQ40x")
_CLOSE_ON_EXEC = 8
_IOC_SET_BPF, _IOC_ENABLE = 0x40042408, 0x2400

_libc = ctypes.CDLL(None, use_errno=True)


def open_kprobe(function: str, *, at_return: bool) -> int:
    """A kprobe on a function, or on its return, that calls nobody yet; its descriptor.

    Raises OSError; FileNotFoundError on a kernel without kprobes.
    """
    kind = int((_PMU / "type").read_text())
    bit = int((_PMU / "format/retprobe").read_text().strip().removeprefix("config:"))
    name = ctypes.create_string_buffer(function.encode())
    config = int(at_return) << bit
    attr = _ATTR.pack(kind, _ATTR.size, config, ctypes.addressof(name), 0)
    buffer = ctypes.create_string_buffer(attr, _ATTR.size)
    number = _SYS_PERF_EVENT_OPEN[platform.machine()]
    # Of every process, and for one CPU, since the program runs on all of them (kprobe_perf_func()).
    fd = int(_libc.syscall(number, buffer, -1, 0, -1, _CLOSE_ON_EXEC))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd


def attach_program(event: int, program: int) -> None:
    """Let a program run at a probe. Raises OSError."""
    fcntl.ioctl(event, _IOC_SET_BPF, program)
    fcntl.ioctl(event, _IOC_ENABLE, 0)
