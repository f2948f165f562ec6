# SPDX-License-Identifier: Apache-2.0
"""A Vagrant box of a row of ``vagrant/boxes.yaml``, from packages of the distribution alone.

The root is made by mmdebstrap, with the row's own BCC and Python; the kernel is the one that ``scripts/vm`` boots
for the row. tracetw's virtual environment is in the box: a machine needs no network. The user ``vagrant`` has the
key that everybody knows, as boxes have it: such a machine is no place for secrets.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from pathlib import Path

from scripts.guests.cache import locked, say
from scripts.guests.command import run
from scripts.guests.disk import SIZE_GB, disk
from scripts.guests.errors import Missing
from scripts.guests.hypervisor import Hypervisor
from scripts.guests.initramfs import insertion_order, plain_name, unpacked
from scripts.guests.kernel import Kernel
from scripts.guests.newc import archive
from scripts.guests.root import APART, PACKAGES, bootstrap, set_up, skeleton_of
from scripts.guests.rows import HOST, ROOT, Row

__all__ = ["CHECKOUT", "build"]

CHECKOUT = "opt/tracetw"
"""Where a machine has the checkout (``vagrant/provision.sh``); the virtual environment is there already."""
# Besides what scripts/vm wants in a root: what a machine is that boots by itself and that Vagrant can enter.
_MORE = ("conntrack", "openssh-server", "sudo", "systemd-sysv", "tcpdump", "udev")
# The release whose programs a row has that takes those of any host.
_ANY = "bookworm"
_MODULES = ("virtio_pci", "virtio_blk", "ext4")
_FOLDERS = ("bin", "dev", "modules", "new", "proc", "sys")
_KEY = ROOT / "vagrant" / "well-known.pub"
_FILES = {
    "etc/fstab": "/dev/vda1 / ext4 errors=remount-ro 0 1\n",
    "etc/hostname": "tracetw\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 tracetw\n",
    "etc/sudoers.d/vagrant": "vagrant ALL=(ALL) NOPASSWD: ALL\n",
    # eth0 leads to Vagrant; the provisioner cares for the others.
    "etc/systemd/network/eth0.network": "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n",
    # A name of the client is asked for by nobody, and the wait is long without a network.
    "etc/ssh/sshd_config.d/tracetw.conf": "UseDNS no\nGSSAPIAuthentication no\n",
}
_FINISH = """
chroot "$1" useradd --create-home --shell /bin/bash vagrant
install -d -m 700 "$1/home/vagrant/.ssh"
install -m 600 "$2" "$1/home/vagrant/.ssh/authorized_keys"
chroot "$1" chown -R vagrant:vagrant /home/vagrant
chmod 440 "$1/etc/sudoers.d/vagrant"
chroot "$1" systemctl -q enable systemd-networkd ssh
chroot "$1" systemctl -q mask systemd-networkd-wait-online apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap fstrim.timer getty-static getty@tty1 man-db.timer serial-getty@ttyS0 systemd-timesyncd
rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
: >"$1/etc/machine-id"
"""


def build(hypervisor: Hypervisor, row: Row, target: Path) -> None:
    """Write the box. Raises Failed, Missing."""
    if hypervisor.processor(row).debian != "amd64":
        raise Missing("boxes are built for x86-64 only", "build it on such a machine")
    kernel = hypervisor.kernel(row)
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        locked(target.parent, f"the box {row.name}"),
        tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as name,
    ):
        work = Path(name)
        root = work / "root"
        suite = _ANY if row.root == HOST else row.root
        source = hypervisor.archive(row, suite)
        say(f"{row.name}: a root of {suite} with kernel {kernel.version}")
        bootstrap(root, source, [*PACKAGES, *_MORE])
        _install_kernel(root, kernel)
        for path, text in _FILES.items():
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        say(f"{row.name}: tracetw's environment")
        skeleton_of(work / "made")
        set_up(root, work / "made", ["recording"])
        shutil.move(work / "made", root / CHECKOUT)
        run([*APART, "sh", "-ec", _FINISH, "sh", root, _KEY])
        say(f"{row.name}: the disk")
        disk(root, work / "box.img")
        about = {"provider": "libvirt", "format": "qcow2", "virtual_size": SIZE_GB}
        (work / "metadata.json").write_text(json.dumps(about) + "\n")
        fresh = work / "box"
        run(["tar", "--create", "--file", fresh, "--directory", work, "metadata.json", "box.img"])
        fresh.chmod(0o644)
        fresh.rename(target)


def _install_kernel(root: Path, kernel: Kernel) -> None:
    boot = root / "boot"
    boot.mkdir(exist_ok=True)
    shutil.copy(kernel.image, boot / "vmlinuz")
    modules = root / "usr" / "lib" / "modules"
    modules.mkdir(parents=True, exist_ok=True)
    shutil.copytree(kernel.modules, modules, dirs_exist_ok=True, symlinks=True)
    files = {
        "init": (0o755, Path(__file__).with_name("box.sh").read_bytes()),
        "bin/busybox": (0o755, kernel.busybox.read_bytes()),
    }
    order = insertion_order(kernel, _MODULES)
    for module in order:
        files[f"modules/{plain_name(module)}"] = (0o644, unpacked(module))
    files["modules/order"] = (0o644, "\n".join(map(plain_name, order)).encode() + b"\n")
    (boot / "initrd").write_bytes(gzip.compress(archive(files, _FOLDERS), 1))
