# SPDX-License-Identifier: Apache-2.0
"""The few headers that BCC includes of its own accord, so that no kernel headers are needed.

BCC takes the folder from ``BCC_KERNEL_SOURCE``. It parses its own copy of the BPF headers against
these types; nothing of the traced kernel comes from here.
"""

from __future__ import annotations

import mmap
import platform
from pathlib import Path

_TYPES = """#ifndef STUB_TYPES_H
#define STUB_TYPES_H
typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64;
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64;
typedef s8 __s8; typedef s16 __s16; typedef s32 __s32; typedef s64 __s64;
typedef u8 __u8; typedef u16 __u16; typedef u32 __u32; typedef u64 __u64;
typedef u16 __le16; typedef u32 __le32; typedef u64 __le64;
typedef u16 __be16; typedef u32 __be32; typedef u64 __be64;
typedef u16 __sum16; typedef u32 __wsum;
typedef u64 __attribute__((aligned(8))) __aligned_u64;
typedef unsigned long size_t; typedef long ssize_t;
typedef unsigned long uintptr_t; typedef long intptr_t;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)
#endif
"""
_VERSION = """#define LINUX_VERSION_CODE 0x060000
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
"""
_ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64", "ppc64le": "powerpc", "s390x": "s390"}


def write_stubs(folder: Path) -> None:
    """Write the stub headers below ``folder``. Raises OSError."""
    machine = platform.machine()
    arch = _ARCHITECTURES.get(machine, machine)
    files = {
        "include/linux/kconfig.h": "#define CONFIG_BPF_SYSCALL 1\n",
        "include/linux/types.h": _TYPES,
        "include/linux/bpf_common.h": "",
        "include/linux/version.h": _VERSION,
        "include/linux/log2.h": "",
        # The size of a ring buffer is a whole number of the kernel's pages (ringbuf_map_alloc): 4 KiB on x86, where
        # an arm64 kernel may have 16 or 64.
        f"arch/{arch}/include/asm/page.h": f"#define PAGE_SIZE {mmap.PAGESIZE}\n",
    }
    # BCC brings its own copy of bpf.h; a second one would clash.
    for name in ("bpf", "if_packet", "if_ether", "ptrace"):
        files[f"include/uapi/linux/{name}.h"] = ""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
