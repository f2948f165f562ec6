# SPDX-License-Identifier: Apache-2.0
"""Everything that differs between processors."""

from __future__ import annotations

import os
from dataclasses import dataclass

from scripts.guests.errors import Missing


@dataclass(frozen=True, slots=True)
class Architecture:
    """One kind of processor.

    Attributes:
        debian: what the distribution calls it; its kernel is ``linux-image-<debian>``.
        qemu: the emulator.
        package: what the emulator comes in.
        machine: arguments that choose the machine.
        emulated: the CPU where it is not the host's own.
        console: the serial port, for the kernel's messages.
    """

    debian: str
    qemu: str
    package: str
    machine: tuple[str, ...]
    emulated: str
    console: str


# No AVX: it is new in QEMU 7.2, and numpy sorts wrong with it, or crashes. No guest needs it.
_ARCHITECTURES = {
    "x86_64": Architecture(
        "amd64",
        "qemu-system-x86_64",
        "qemu-system-x86",
        ("-machine", "pc"),
        "max,-avx,-avx2,-fma,-f16c",
        "ttyS0",
    ),
    "aarch64": Architecture(
        "arm64",
        "qemu-system-aarch64",
        "qemu-system-arm",
        ("-machine", "virt"),
        # Not max: every pointer that is signed (ARMv8.3) would be a hash that the emulator computes.
        "cortex-a72",
        "ttyAMA0",
    ),
}


def this_architecture(machine: str = "") -> Architecture:
    """Of the machine that is named, as ``uname -m`` does; the host's without. Raises Missing."""
    machine = machine or os.uname().machine
    if machine not in _ARCHITECTURES:
        raise Missing(
            f"no virtual machine is known for {machine}",
            f"run on one of {', '.join(_ARCHITECTURES)}",
        )
    return _ARCHITECTURES[machine]
