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
