# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What scripts/tracetw and scripts/test share: the set-up of a checkout, and the check that it is
# done. Sourced, with $root set to the checkout, without a trailing slash.
#
# The bindings of BCC exist only for the distribution's own Python, so .venv is made by
# /usr/bin/python3 with --system-site-packages. A .pth file in it leads to the checkout by a relative
# path: nothing is installed twice, and the checkout can be moved or mounted elsewhere.
#
# The quick check starts no program. A stamp in .venv holds what the set-up was made from: the
# interpreter, where BCC was found, and the whole of pyproject.toml.

: "${root:?}"
venv=$root/.venv
system_python=/usr/bin/python3

die() {
	printf '%s: %s\n' "${0##*/}" "$1" >&2
	exit 3
}

say() {
	printf '%s: %s\n' "${0##*/}" "$1" >&2
}

# quietly COMMAND...: its output only matters when it fails.
quietly() {
	local output
	output=$("$@" 2>&1 </dev/null) || { printf '%s\n' "$output" >&2 && return 1; }
}

# setup_done EXTRA: the stamp of EXTRA ("run", "recording", "test", "vm") holds and nothing it names has gone.
setup_done() {
	local interpreter bcc project rest
	{ read -r interpreter && read -r bcc && IFS= read -r -d '' rest; } \
		2>/dev/null <"$venv/.set-up-$1" || [[ -n ${rest-} ]] || return 1
	IFS= read -r -d '' project <"$root/pyproject.toml" || [[ -n $project ]] || return 1
	[[ $rest == "$project" && -f $bcc && $system_python -ef $interpreter && -x $venv/bin/python ]]
}

# setup EXTRA: makes it so, or ends with one line and exit status 3.
setup() {
	setup_done "$1" && return
	[[ -w $root ]] || die "$root is not set up as it is now and cannot be written; run ${0@Q} once as root"
	command -v flock >/dev/null || die "flock is missing; install util-linux"
	exec 9<"$root"
	flock -n 9 || { say "waiting for another set-up of $root" && flock 9; }
	# Nothing started from here may keep the lock for longer than this script.
	setup_done "$1" || make_setup "$1" 9<&-
	exec 9<&-
}

make_setup() {
	local extra=$1 bcc
	rm -f -- "$venv/.set-up-$extra"
	install_bindings
	bcc=$(find_bcc) || die "BCC's Python bindings are installed, but $system_python finds none"
	make_venv
	install_requirements "$extra"
	stamp "$extra" "$bcc"
	# A checkout of a user stays that user's although the set-up ran under sudo.
	((EUID != 0)) || chown -R --reference="$root" -- "$venv"
}

find_bcc() {
	# -I: neither the current folder nor PYTHONPATH has a say. The file tells BCC from PyPI's "bcc".
	"$system_python" -I - <<-'EOF'
		import importlib.util, os, sys
		spec = importlib.util.find_spec("bcc")
		if spec is None:
		    sys.exit(1)
		file = os.path.join(list(spec.submodule_search_locations or [""])[0], "libbcc.py")
		print(file)
		sys.exit(0 if os.path.exists(file) else 2)
	EOF
}

install_bindings() {
	local missing=() status=0 found
	if [[ ! -x $system_python ]]; then
		install_packages python3 "$(package bindings)" "$(package venv)"
		return
	fi
	"$system_python" -I -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
		die "Python 3.10 or newer is needed, $system_python is older"
	found=$(find_bcc) || status=$?
	case $status in
	0) ;;
	1) missing+=("$(package bindings)") ;;
	*) die "${found%/*} is not the BPF Compiler Collection; remove it ($system_python -m pip uninstall bcc)" ;;
	esac
	"$system_python" -I -c 'import ensurepip, venv' 2>/dev/null || missing+=("$(package venv)")
	((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# package ROLE: what this distribution calls it.
package() {
	if command -v apt-get >/dev/null; then
		case $1 in
		bindings) echo python3-bpfcc ;;
		venv) echo python3-venv ;;
		nft) echo nftables ;;
		groff) echo groff-base ;;
		ip) echo iproute2 ;;
		headers) echo libc6-dev ;;
		qemu) [[ $(uname -m) == aarch64 ]] && echo qemu-system-arm || echo qemu-system-x86 ;;
		*) echo "$1" ;;
		esac
	else
		case $1 in
		bindings) echo python3-bcc ;;
		venv) echo python3-libs ;;
		nft) echo nftables ;;
		groff) echo groff-base ;;
		ip) echo iproute ;;
		headers) echo glibc-devel ;;
		shellcheck) echo ShellCheck ;;
		clang-format) echo clang-tools-extra ;;
		qemu) echo qemu-kvm ;;
		*) echo "$1" ;;
		esac
	fi
}

# install_packages NAME...: from the distribution; ends the script when that is not possible.
install_packages() {
	((EUID == 0)) || die "not installed: $*; run it once as root: sudo ${0@Q}"
	say "installing $*"
	if command -v apt-get >/dev/null; then
		# The lists may be missing or stale: fetch them only when it does not work without.
		quietly apt_install "$@" 2>/dev/null || { quietly apt-get update && quietly apt_install "$@"; }
	elif command -v dnf >/dev/null; then
		quietly dnf -y install "$@"
	else
		die "not installed: $*; only apt-get and dnf are known here, install them by hand"
	fi || die "could not install $*; see the messages above"
}

apt_install() {
	DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
		apt-get -y -o DPkg::Lock::Timeout=300 --no-install-recommends install "$@"
}

make_venv() {
	local site
	# A venv belongs to one interpreter: after an upgrade of the distribution it is made anew.
	if [[ ! $venv/bin/python -ef $system_python || ! -x $venv/bin/pip ]]; then
		say "making $venv"
		rm -f -- "$venv"/.set-up-*
		quietly "$system_python" -I -m venv --clear --system-site-packages -- "$venv" ||
			die "could not make $venv; see the messages above"
	fi
	site=$("$venv/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	echo ../../../.. >"$site/tracetw-checkout.pth" || die "could not write to $site"
}

# install_requirements EXTRA: what pyproject.toml asks for; "recording", "test" and "vm" add the extra of that name.
install_requirements() {
	local requirements
	mapfile -t requirements < <("$venv/bin/python" -I - "$root/pyproject.toml" "$1" <<-'EOF'
		import sys
		try:
		    import tomllib
		except ImportError:  # Python 3.10
		    from pip._vendor import tomli as tomllib
		with open(sys.argv[1], encoding="utf-8") as file:
		    project = tomllib.loads(file.read())["project"]
		extra = project["optional-dependencies"].get(sys.argv[2], [])
		print(*project["dependencies"], *extra, sep="\n")
	EOF
	)
	((${#requirements[@]} > 0)) || die "$root/pyproject.toml cannot be read"
	say "installing from PyPI what is missing of ${requirements[*]}"
	quietly "$venv/bin/python" -I -m pip --disable-pip-version-check install --quiet --no-input \
		-- "${requirements[@]}" || die "pip could not install them; see the messages above"
	"$venv/bin/python" -I -c 'import click, numpy, pyroute2, tabulate, wcwidth' ||
		die "the packages in $venv do not work; remove that folder and start again"
	# A read-only checkout has no other chance to keep its compiled modules.
	"$venv/bin/python" -I -m compileall -q "$root/tracetw" >&2 || true
}

stamp() {
	local interpreter
	interpreter=$("$system_python" -I -c 'import os, sys; print(os.path.realpath(sys.executable))')
	printf '%s\n%s\n' "$interpreter" "$2" | cat -- - "$root/pyproject.toml" >"$venv/.set-up-$1.new" ||
		die "could not write to $venv"
	mv -f -- "$venv/.set-up-$1.new" "$venv/.set-up-$1"
}
