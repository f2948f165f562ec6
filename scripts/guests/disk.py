# SPDX-License-Identifier: Apache-2.0
"""A disk with one file system that boots by BIOS, made from a folder without a loop device."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from scripts.guests.command import run
from scripts.guests.errors import Missing

SIZE_GB = 4
_GRUB = Path("/usr/lib/grub/i386-pc")
_SECTOR = 512
_START = 2048  # sectors: 1 MiB, as partitioners have it
_LINUX = 0x83
_ACTIVE = 0x80
# The mitigations cost much under emulation, and machines of a lab have no secrets. Names eth0, eth1 on every release.
# The TSC stays under the kernel's watch (no tsc=reliable): on a busy host it is calibrated wrong by half.
# Probes are attached and detached by the dozen, and each waits for a grace period of RCU.
_CONFIGURATION = """\
set root=(hd0,msdos1)
linux /boot/vmlinuz root=/dev/vda1 rw console=ttyS0 quiet loglevel=4 panic=1 mitigations=off net.ifnames=0 rcupdate.rcu_expedited=1
initrd /boot/initrd
boot
"""


def disk(root: Path, target: Path) -> None:
    """Write a qcow2 image of ``root``, which has ``boot/vmlinuz`` and ``boot/initrd``. Raises Failed, Missing."""
    if not _GRUB.is_dir():
        raise Missing(f"{_GRUB} is not here", "install grub-pc-bin and grub2-common")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as name:
        raw = Path(name, "raw")
        with raw.open("wb") as file:
            file.truncate(SIZE_GB << 30)
        # Blocks of the file system end where the disk does, in whole ones of 4 KiB.
        blocks = ((SIZE_GB << 30) - _START * _SECTOR) // 4096
        options = f"offset={_START * _SECTOR},lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"
        run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", root, "-E", options, raw, f"{blocks * 4}k"])
        _boot(raw, Path(name))
        zstd = ("-o", "compression_type=zstd")
        run(["qemu-img", "convert", "-c", "-O", "qcow2", *zstd, raw, target])


def _boot(raw: Path, folder: Path) -> None:
    """GRUB between the partition table and the file system, with its few commands inside of it."""
    commands, core = folder / "grub.cfg", folder / "core.img"
    commands.write_text(_CONFIGURATION)
    modules = ("biosdisk", "part_msdos", "ext2", "linux", "boot")
    image = ["grub-mkimage", "-O", "i386-pc", "-o", core, "-c", commands, "-p", "(hd0,msdos1)/boot"]
    run([*image, *modules])
    sectors = (SIZE_GB << 30) // _SECTOR - _START
    entry = struct.pack(
        "<B3sB3sII", _ACTIVE, b"\xfe\xff\xff", _LINUX, b"\xfe\xff\xff", _START, sectors
    )
    first = (_GRUB / "boot.img").read_bytes()[:440].ljust(446, b"\0") + entry.ljust(64, b"\0")
    with raw.open("r+b") as file:
        file.write(first + b"\x55\xaa")
        file.seek(_SECTOR)
        file.write(core.read_bytes())
