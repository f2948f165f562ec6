# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Programs of the distribution that scripts/test and scripts/vm use. Sourced after scripts/setup.bash.

# install_emulator: what boots a guest. Kernels are fetched, not installed (scripts/guests/kernel.py).
install_emulator() {
	local missing=()
	command -v "qemu-system-$(uname -m)" >/dev/null || missing+=("$(package qemu)")
	command -v modprobe >/dev/null || missing+=(kmod)
	command -v setpriv >/dev/null || missing+=(util-linux)
	command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
	command -v dpkg-deb >/dev/null || missing+=(dpkg)
	command -v gpg >/dev/null || missing+=(gpg)
	((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# install_emulator_aarch64: of another processor, for the rows that name it.
install_emulator_aarch64() {
	command -v qemu-system-aarch64 >/dev/null || install_packages qemu-system-arm
}

# install_tools: the programs the tests use. One that cannot be had is named, and its tests skip
# (or fail, where CI is set).
install_tools() {
	local tool missing=() wanted=(clang clang-format cpio gcc git groff ip nft shellcheck tmux)
	[[ -e /usr/include/stdio.h ]] || missing+=("$(package headers)")
	for tool in "${wanted[@]}"; do
		command -v "$tool" >/dev/null || missing+=("$(package "$tool")")
	done
	((${#missing[@]} == 0)) || try_install "${missing[@]}"
	command -v bpftrace >/dev/null || try_install bpftrace
}

# install_boxes: what scripts/build-box makes a disk with, besides the emulator's.
install_boxes() {
	local missing=()
	command -v grub-mkimage >/dev/null || missing+=(grub2-common)
	[[ -d /usr/lib/grub/i386-pc ]] || missing+=(grub-pc-bin)
	command -v qemu-img >/dev/null || missing+=(qemu-utils)
	command -v mke2fs >/dev/null || missing+=(e2fsprogs)
	((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# install_machines: what makes and runs the machines of vagrant/, emulated or not.
install_machines() {
	local missing=()
	command -v vagrant >/dev/null || missing+=(vagrant)
	[[ -n $(compgen -G '/usr/share/rubygems-integration/all/gems/vagrant-libvirt-*') ]] || missing+=(vagrant-libvirt)
	if [[ ${1-} != files ]]; then
		command -v libvirtd >/dev/null || missing+=(libvirt-daemon libvirt-daemon-driver-qemu)
		command -v virsh >/dev/null || missing+=(libvirt-clients)
		command -v ssh >/dev/null || missing+=(openssh-client)
		command -v "qemu-system-$(uname -m)" >/dev/null || missing+=("$(package qemu)")
	fi
	((${#missing[@]} == 0)) || try_install "${missing[@]}"
}

# install_vagrantfile: what "vagrant validate" takes, and no more.
install_vagrantfile() {
	install_machines files
}

install_browser() {
	command -v chromium >/dev/null || try_install chromium
}

install_roots() {
	local missing=()
	command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
	command -v gpg >/dev/null || missing+=(gpg)
	((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# Packages are not in every release of every distribution: what fails does not end the run.
try_install() {
	if ((EUID == 0)); then
		(install_packages "$@") || say "going on without $*"
	else
		say "going on without $*: only root can install them"
	fi
}
