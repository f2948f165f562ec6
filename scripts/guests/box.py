# SPDX-License-Identifier: Apache-2.0
"""A Vagrant box of a row of ``vagrant/boxes.yaml``, from packages of the distribution alone.

The root is made by mmdebstrap, with the row's own BCC and Python; the kernel is the one that ``scripts/vm`` boots
for the row. tracetw and its virtual environment are in the box: a machine needs no network. What a machine would
compile when it first records, Python and BPF, is compiled here: under emulation that takes minutes. The user
``vagrant`` has the key that everybody knows, as boxes have it: such a machine is no place for secrets.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from scripts.guests.cache import locked, say
from scripts.guests.command import run
from scripts.guests.disk import SIZE_GB, disk
from scripts.guests.errors import Failed, Missing
from scripts.guests.hypervisor import Hypervisor
from scripts.guests.initramfs import insertion_order, plain_name, unpacked
from scripts.guests.kernel import Kernel
from scripts.guests.newc import archive
from scripts.guests.root import APART, PACKAGES, bootstrap, set_up, skeleton_of
from scripts.guests.rows import HOST, ROOT, Row
from scripts.guests.survey import DATA
from scripts.guests.vmlinux import btf_of

CHECKOUT = "opt/tracetw"
"""Where a machine has the checkout (``vagrant/provision.sh``); the virtual environment is there already."""
# Besides what scripts/vm wants in a root: what a machine is that boots by itself and that Vagrant can enter.
# Vagrant copies by scp, which is the client's; the server no longer depends on it (OpenSSH 10 in Debian).
_MORE = ("conntrack", "openssh-client", "openssh-server", "sudo", "systemd-sysv", "tcpdump", "udev")
# What of those only tests use.
_LESS = ("gcc", "git", "libc6-dev")
# The release whose programs a row has that takes those of any host.
_ANY = "bookworm"
# The interfaces are there before udev looks for modules, which takes an emulated machine long.
_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
# Folders of the kernel's modules: of these only what is named, of those all but what is named.
_ONLY = {"drivers": {"block", "net", "virtio"}}
_NOT = {
    "": {"sound"},
    "net": {"6lowpan", "bluetooth", "mac80211", "mac802154", "nfc", "wireless"},
    "drivers/net": {
        "can",
        "ethernet",
        "fddi",
        "hamradio",
        "ieee802154",
        "phy",
        "usb",
        "wan",
        "wireless",
        "wwan",
    },
    "fs": {
        "afs",
        "btrfs",
        "ceph",
        "cifs",
        "f2fs",
        "gfs2",
        "jfs",
        "nfs",
        "nfsd",
        "ntfs3",
        "ocfs2",
        "smb",
        "xfs",
    },
}
_FOLDERS = ("bin", "dev", "modules", "new", "proc", "sys")
_UNFINISHED = ".new-box-"
_KEY = ROOT / "vagrant" / "well-known.pub"
_FILES = {
    # The first file system is mounted for good: systemd would wait for udev to say that its disk is there.
    "etc/fstab": "",
    "etc/hostname": "tracetw\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 tracetw\n",
    "etc/sudoers.d/vagrant": "vagrant ALL=(ALL) NOPASSWD: ALL\n",
    # eth0 leads to Vagrant; the provisioner cares for the others.
    "etc/systemd/network/eth0.network": "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n",
    # Nobody needs the client's name, and without a network sshd waits long for it. Other key exchanges
    # that both ends know take seconds of an emulated machine.
    "etc/ssh/sshd_config.d/tracetw.conf": "UseDNS no\nGSSAPIAuthentication no\n"
    "KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256\n",
    "etc/systemd/journald.conf.d/tracetw.conf": "[Journal]\nStorage=volatile\n",
    # Of all devices, those that something here waits for.
    "etc/systemd/system/systemd-udev-trigger.service.d/tracetw.conf": "[Service]\nExecStart=\n"
    "ExecStart=-udevadm trigger --action=add --subsystem-match=net --subsystem-match=block\n",
}
# What a machine that somebody sits at has use for, or that keeps something for the next boot.
_IDLE = (
    "apt-daily.timer apt-daily-upgrade.timer dev-hugepages.mount dev-mqueue.mount dpkg-db-backup.timer e2scrub_all.timer"
    " e2scrub_reap fstrim.timer getty-static getty@tty1 kmod-static-nodes man-db.timer modprobe@configfs"
    " modprobe@dm_mod modprobe@drm modprobe@efi_pstore modprobe@fuse modprobe@loop proc-sys-fs-binfmt_misc.automount"
    " serial-getty@ttyS0 sys-fs-fuse-connections.mount sys-kernel-config.mount systemd-binfmt systemd-journal-flush"
    " systemd-networkd-wait-online systemd-pstore systemd-random-seed systemd-sysusers systemd-timesyncd"
    " systemd-update-utmp systemd-update-utmp-runlevel"
)
_FINISH = """
chroot "$1" useradd --create-home --shell /bin/bash vagrant
install -d -m 700 "$1/home/vagrant/.ssh"
install -m 600 "$2" "$1/home/vagrant/.ssh/authorized_keys"
chroot "$1" chown -R vagrant:vagrant /home/vagrant
chmod 440 "$1/etc/sudoers.d/vagrant"
chroot "$1" systemctl -q enable systemd-networkd ssh
chroot "$1" systemctl -q mask $3
rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
: >"$1/etc/machine-id"
"""


# The checkout's own Python files, then the programs of the lab's recorder.
_COMPILE = """
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --rbind /sys "$1/sys"
python=/opt/tracetw/.venv/bin/python
chroot "$1" $python -I -m compileall -q /opt/tracetw/tracetw /opt/tracetw/scripts >&2
[ -z "$2" ] || chroot "$1" $python -I -m scripts.guests.precompile <"$2"
"""


def build(hypervisor: Hypervisor, row: Row, target: Path) -> None:
    """Write the box. Raises Failed, Missing."""
    if hypervisor.processor(row).debian != "amd64":
        raise Missing("boxes are built for x86-64 only", "build it on such a machine")
    kernel = hypervisor.kernel(row)
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        locked(target.parent, f"the box {row.name}"),
        work_folder(target.parent) as name,
    ):
        work = Path(name)
        root = work / "root"
        suite = _ANY if row.root == HOST else row.root
        source = hypervisor.archive(row, suite)
        say(f"{row.name}: a root of {suite} with kernel {kernel.version}")
        bootstrap(root, source, [*(each for each in PACKAGES if each not in _LESS), *_MORE])
        _install_kernel(root, kernel)
        for path, text in _FILES.items():
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        say(f"{row.name}: tracetw's environment")
        skeleton_of(work / "made")
        set_up(root, work / "made", ["recording"])
        shutil.move(work / "made", root / CHECKOUT)
        _compile(root, row, kernel)
        run([*APART, "sh", "-ec", _FINISH, "sh", root, _KEY, _IDLE])
        say(f"{row.name}: the disk")
        disk(root, work / "box.img")
        about = {"provider": "libvirt", "format": "qcow2", "virtual_size": SIZE_GB}
        (work / "metadata.json").write_text(json.dumps(about) + "\n")
        fresh = work / "box"
        run(["tar", "--create", "--file", fresh, "--directory", work, "metadata.json", "box.img"])
        fresh.chmod(0o644)
        fresh.rename(target)


def work_folder(shelf: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder to build in, on the shelf's own disk. Removes what a run left that was killed; the shelf is locked."""
    for unfinished in shelf.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(unfinished)
    return tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=shelf)


def _install_kernel(root: Path, kernel: Kernel) -> None:
    boot = root / "boot"
    boot.mkdir(exist_ok=True)
    shutil.copy(kernel.image, boot / "vmlinuz")
    modules = root / "usr" / "lib" / "modules"
    modules.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        kernel.modules, modules, dirs_exist_ok=True, symlinks=True, ignore=_useless_modules
    )
    run(["depmod", "--basedir", root, kernel.release])
    files = {
        "init": (0o755, Path(__file__).with_name("box.sh").read_bytes()),
        "bin/busybox": (0o755, kernel.busybox.read_bytes()),
    }
    order = insertion_order(kernel, _MODULES)
    for module in order:
        files[f"modules/{plain_name(module)}"] = (0o644, unpacked(module))
    files["modules/order"] = (0o644, "\n".join(map(plain_name, order)).encode() + b"\n")
    (boot / "initrd").write_bytes(gzip.compress(archive(files, _FOLDERS), 1))


def _useless_modules(folder: str, names: Iterable[str]) -> set[str]:
    """Drivers of what a virtual machine has not: three quarters of the modules."""
    _, found, place = folder.rpartition("/kernel")
    if not found:
        return set()
    place = place.lstrip("/")
    unnamed = set(names) - _ONLY[place] if place in _ONLY else set()
    return unnamed | _NOT.get(place, set()) & set(names)


def _compile(root: Path, row: Row, kernel: Kernel) -> None:
    """The checkout, and what of it is compiled; provisioning replaces what has changed since."""
    for part in ("bpf", "tracetw", "scripts"):
        shutil.copytree(
            ROOT / part,
            root / CHECKOUT / part,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy2(ROOT / "README.md", root / CHECKOUT)
    surveyed, request = DATA / f"{row.name}.json", root / "tmp" / "request"
    if not surveyed.exists():
        say(f"{row.name}: nobody has surveyed its kernel; machines compile the programs themselves")
        run([*APART, "sh", "-ec", _COMPILE, "sh", root, ""])
        return
    known = json.loads(surveyed.read_text())["capabilities"]
    (root / "tmp" / "btf").write_bytes(btf_of(kernel.image))
    present = [each["slug"] for each in known if each["present"]]
    request.write_text(json.dumps({"btf": "/tmp/btf", "present": present}))  # noqa: S108 (of the root)
    try:
        run([*APART, "sh", "-ec", _COMPILE, "sh", root, request])
    except Failed as error:
        say(f"{row.name}: machines compile the programs themselves: {error}")
    finally:
        (root / "tmp" / "btf").unlink()
        request.unlink()
