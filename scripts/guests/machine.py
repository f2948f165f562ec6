# SPDX-License-Identifier: Apache-2.0
"""The virtual machine as a command line of QEMU: no disk, no network, folders of the host over 9p."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.guests.architecture import Architecture

# Names of the channels between host and guest; "console" is the serial port.
PORTS = ("control", "out", "err")
# quiet, and only errors on the console: emulated serial ports are slow. An oops ends the guest: what
# runs on after one proves nothing. The mitigations cost much under emulation and prove nothing either.
_PARAMETERS = "quiet loglevel=4 panic=-1 oops=panic mitigations=off"
# One thread for all processors: with more, one may translate code while another rewrites it, as the kernel does when
# a probe is attached, and run what was there before: an oops (int3), or an event that nobody hears of. QEMU commit
# deba78709ae8 ("accel/tcg: Always lock pages before translation") (in v8.1.0) mends it; releases before are in use.
_ACCELERATORS = {"kvm": "kvm", "tcg": "tcg,thread=single"}


@dataclass(frozen=True, slots=True)
class Share:
    """A folder of the host. ``tag`` is what the guest's first script asks for."""

    tag: str
    path: Path
    writable: bool = False

    def arguments(self) -> list[str]:
        """For QEMU. A comma in a path is doubled (qemu-options: commas in values)."""
        path = str(self.path).replace(",", ",,")
        access = "" if self.writable else ",readonly=on"
        return [
            "-fsdev",
            f"local,id={self.tag},path={path},security_model=none,multidevs=remap{access}",
            "-device",
            f"virtio-9p-pci,fsdev={self.tag},mount_tag={self.tag}",
        ]


@dataclass(frozen=True, slots=True)
class Machine:
    """What is switched on."""

    architecture: Architecture
    accelerator: str
    kernel: Path
    initrd: Path
    shares: tuple[Share, ...] = ()
    processors: int = 2
    memory: str = "3G"

    def argv(self, descriptors: Mapping[str, int]) -> list[str]:
        """The command line. ``descriptors``: of a connected socket for each port and the console."""
        console = self.architecture.console
        argv = [
            self.architecture.qemu,
            *self.architecture.machine,
            *("-accel", _ACCELERATORS[self.accelerator]),
            *("-cpu", "host" if self.accelerator == "kvm" else self.architecture.emulated),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"),
            *("-smp", str(self.processors), "-m", self.memory),
            *("-kernel", str(self.kernel), "-initrd", str(self.initrd)),
            *("-append", f"console={console} {_PARAMETERS}"),
        ]
        for name in ("console", *PORTS):
            argv += ["-chardev", f"socket,id={name},fd={descriptors[name]}"]
        argv += [
            "-serial",
            "chardev:console",
            "-device",
            f"virtio-serial-pci,max_ports={len(PORTS) + 1}",
        ]
        for name in PORTS:
            argv += ["-device", f"virtserialport,chardev={name},name={name}"]
        for share in self.shares:
            argv += share.arguments()
        return argv
