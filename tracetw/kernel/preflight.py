# SPDX-License-Identifier: Apache-2.0
"""Whether this host lets us trace at all, found out in milliseconds before anything is loaded.

Each thing that can be missing has one check and one message. No check looks at the kernel's version: its
BTF says what it has. No check asks for tracefs or debugfs: bpf(2) attaches raw tracepoints without them.

This module does not import BCC: that costs 100 MB and belongs into the compiler child. The files of
its Python package tell it from another project of that name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracetw.errors import CannotTrace, shortage
from tracetw.kernel import bindings

# include/uapi/linux/capability.h
_CAP_SYS_ADMIN = 21
_CAP_PERFMON = 38
_CAP_BPF = 39

# PROC_USER_INIT_INO, include/linux/proc_ns.h: the inode number of the first user namespace.
_INIT_USER_NS = "user:[4026531837]"

# struct btf_header, include/uapi/linux/btf.h: magic, version, flags, hdr_len, type_off, type_len,
# str_off, str_len. The offsets count from the end of the header.
_BTF_HEADER = struct.Struct("=HBBIIIII")
_BTF_MAGIC = 0xEB9F

# What the kernel must have: the name by which its BTF shows it, and what it is.
_NEEDED = (
    (b"BPF_MAP_TYPE_RINGBUF", "BPF ring buffers"),
    (b"btf_trace_inet_sock_set_state", "the tracepoint sock:inet_sock_set_state"),
)


@dataclass(frozen=True, slots=True)
class System:
    """Where the facts are read from; ``own_packages`` None are this interpreter's."""

    status: Path = Path("/proc/self/status")
    user_namespace: Path = Path("/proc/self/ns/user")
    btf: Path = Path("/sys/kernel/btf/vmlinux")
    lockdown: Path = Path("/sys/kernel/security/lockdown")
    os_release: Path = Path("/etc/os-release")
    root: Path = Path("/")
    own_packages: tuple[str, ...] | None = None


def check(host: System | None = None) -> None:
    """Return when tracing can be tried; otherwise raise CannotTrace with the first thing missing."""
    host = host or System()
    for one in _CHECKS:
        one(host)


def _privileges(host: System) -> None:
    """CAP_BPF and CAP_PERFMON load and attach what reads kernel memory; CAP_SYS_ADMIN implies both."""
    lines = host.status.read_text(encoding="ascii", errors="replace").splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    effective = int(fields["CapEff"], 16)
    wanted = {"CAP_BPF": _CAP_BPF, "CAP_PERFMON": _CAP_PERFMON}
    missing = " and ".join(name for name, bit in wanted.items() if not effective >> bit & 1)
    if missing and not effective >> _CAP_SYS_ADMIN & 1:
        if fields["Uid"].split()[1] != "0":
            raise CannotTrace(f"not root: {missing} missing", "start it with sudo")
        raise CannotTrace(
            f"root without {missing} (a container)",
            "add these capabilities or start it on the host",
        )
    # bpf(2) asks for them in the first user namespace; root of a container has them in its own.
    if str(host.user_namespace.readlink()) != _INIT_USER_NS:
        raise CannotTrace(
            "root only inside a user namespace (an unprivileged container)", "start it on the host"
        )


def _kernel(host: System) -> None:
    """The kernel describes itself, and has what every plan of ours is made of."""
    try:
        names = _btf_names(host.btf)
    except FileNotFoundError:
        raise CannotTrace(
            f"this kernel has no BTF: {host.btf} does not exist",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, or mount /sys",
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and shortage(error) is not None:
            raise
        raise CannotTrace(
            f"the BTF of this kernel cannot be read from {host.btf}: {error}",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        ) from None
    lacking = [what for name, what in _NEEDED if b"\0" + name + b"\0" not in names]
    if lacking:
        raise CannotTrace(
            f"this kernel is too old: it lacks {' and '.join(lacking)}",
            "boot a newer one (mainline has had all that is needed since 5.8)",
        )


def _btf_names(path: Path) -> bytes:
    """The string section of a BTF file: names between zero bytes. ValueError if it is not BTF."""
    with path.open("rb") as file:
        header = file.read(_BTF_HEADER.size)
        if len(header) < _BTF_HEADER.size:
            msg = "too short"
            raise ValueError(msg)
        magic, _, _, length, _, _, offset, size = _BTF_HEADER.unpack(header)
        if magic != _BTF_MAGIC:
            msg = "not BTF of this byte order"
            raise ValueError(msg)
        file.seek(length + offset)
        return file.read(size)


def _lockdown(host: System) -> None:
    """In lockdown's confidentiality mode bpf_probe_read_kernel() is refused (LOCKDOWN_BPF_READ_KERNEL)."""
    try:
        mode = host.lockdown.read_text(encoding="ascii")
    except OSError:
        return  # Not mounted or not built in: the load will tell.
    if "[confidentiality]" in mode:
        raise CannotTrace(
            "kernel lockdown (confidentiality) forbids BPF to read kernel memory",
            "boot with lockdown=integrity or without it",
        )


def _bindings(host: System) -> None:
    """BCC's Python package is there, and is not PyPI's project of the same name."""
    bindings.find(host.own_packages, host.root, host.os_release)


_CHECKS: tuple[Callable[[System], None], ...] = (_privileges, _kernel, _lockdown, _bindings)
