# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The set-up of a checkout, and the check that it is done. Sourced by scripts/setup, scripts/tracetw,
# scripts/test and scripts/vm with $root set to the checkout, without a trailing slash.
#
# .venv is made by /usr/bin/python3 and sees none of the system's packages: all that it has comes from
# PyPI, chosen in one go for everything that is installed, so that one package never breaks another. Only
# the bindings of BCC are the distribution's; tracetw finds them itself (tracetw/kernel/bindings.py). A .pth
# file leads to the checkout by a relative path: nothing is installed twice, and the checkout can be moved
# or mounted elsewhere.
#
# The quick check starts no program. A stamp in .venv holds what the set-up was made from: the
# interpreter, where BCC was found, the extras that are installed, and the whole of pyproject.toml.

: "${root:?}"
venv=$root/.venv
system_python=/usr/bin/python3

stamp=$venv/.set-up

# What an extra is for, and what it adds to download and to .venv (measured, Python 3.11, x86-64).
declare -A purpose=(
	[base]="tracetw: click, msgspec, NumPy, pyroute2, tabulate and wcwidth"
	[recording]="compacted recordings: Apache Arrow (pyarrow)"
	[query]="tracetw query: DuckDB"
	[lab]="tracetw lab: scapy"
	[top]="tracetw top: Textual"
	[vm]="scripts/vm: PyYAML"
	[test]="the tests: pytest, mypy, ruff and others"
)
declare -A megabytes=(
	[base]="19 87" [recording]="53 170" [query]="24 68" [lab]="3 24" [top]="3 23" [vm]="1 4" [test]="31 115"
)
# What must import afterwards, each by itself.
declare -A modules=(
	[base]="click msgspec numpy pyroute2 tabulate wcwidth"
	[recording]="pyarrow pyarrow.parquet"
	[query]="duckdb pyarrow"
	[lab]="scapy.layers.inet6"
	[top]="textual.app"
	[vm]="yaml"
	[test]="mypy.api pytest pytest_timeout scapy.layers.inet6 textual.app xdist yaml"
)

die() {
	printf '%s: %s\n' "${program:-${0##*/}}" "$1" >&2
	exit 3
}

say() {
	printf '%s: %s\n' "${program:-${0##*/}}" "$1" >&2
}

# attempt COMMAND...: its output goes to $output. On a terminal, seconds show that it is not stuck.
attempt() {
	local status=0 ticker=
	if [[ -t 2 ]]; then
		tick "$$" >&2 </dev/null &
		ticker=$!
	fi
	output=$("$@" 2>&1 </dev/null) || status=$?
	if [[ -n $ticker ]]; then
		kill "$ticker" 2>/dev/null || true
		wait "$ticker" 2>/dev/null || true
		printf '\r\033[K' >&2
	fi
	return "$status"
}

# tick PID: as long as that process lives.
tick() {
	local seconds=0
	while sleep 1 && kill -0 "$1" 2>/dev/null; do
		printf '\r%s: %d s ' "${program:-${0##*/}}" $((seconds += 1))
	done
}

# quietly COMMAND...: its output only matters when it fails.
quietly() {
	local output
	attempt "$@" || { printf '%s\n' "$output" >&2 && return 1; }
}

# read_stamp FILE: what it holds, into $interpreter, $bcc, $extras (with a space at each end) and $made_from.
read_stamp() {
	interpreter='' bcc='' extras=' ' made_from=''
	{ read -r interpreter && read -r bcc && read -r extras && IFS= read -r -d '' made_from; } \
		2>/dev/null <"$1" || [[ -n $made_from ]] || return 1
	extras=" $extras "
}

# setup_done EXTRA...: the stamp holds, names them all, and nothing it names has gone.
setup_done() {
	local interpreter bcc extras made_from project extra
	read_stamp "$stamp" || return 1
	IFS= read -r -d '' project <"$root/pyproject.toml" || [[ -n $project ]] || return 1
	for extra in "$@"; do
		[[ $extras == *" $extra "* ]] || return 1
	done
	[[ $made_from == "$project" && -f $bcc && $system_python -ef $interpreter && -x $venv/bin/python ]]
}

# setup EXTRA...: makes it so, or ends with one line and exit status 3. "base" comes with all.
setup() {
	setup_done "$@" && return
	asked=("$@")
	[[ -w $root ]] || die "$root is not set up as it is now and cannot be written; $(as_root)"
	command -v flock >/dev/null || die "flock is missing; install util-linux"
	exec 9<"$root"
	flock -n 9 || { say "waiting for another set-up of $root" && flock 9; }
	# Nothing started from here may keep the lock for longer than this script.
	setup_done "$@" || make_setup base "$@" 9<&-
	exec 9<&-
}

# as_root: what to do when only root can go on.
as_root() {
	printf 'run it once as root: sudo %s' "${0@Q}"
	[[ ${0##*/} != setup ]] || printf ' %s' "${asked[@]}"
}
asked=()

make_setup() {
	local interpreter bcc extras made_from extra known=' ' made='' fresh=()
	read_stamp "$stamp" || read_stamp "$stamp.before" || true
	install_bindings
	bcc=$(find_bcc) || die "BCC's Python bindings are installed, but $system_python finds none"
	make_venv
	# What was installed before stays installed; an extra that is no more is forgotten.
	for extra in $extras "$@"; do
		[[ -n ${modules[$extra]-} && $known != *" $extra "* ]] || continue
		known+="$extra "
		[[ -z $made && $extras == *" $extra "* ]] || fresh+=("$extra")
	done
	# Whatever ends us while pip works, the next start sets up again, and knows what was installed.
	[[ ! -f $stamp ]] || mv -f -- "$stamp" "$stamp.before"
	rm -f -- "$venv"/.set-up-*
	read -ra extras <<<"$known"
	announce "${fresh[@]}"
	if ! install_requirements "${extras[@]}"; then
		# pip fails before it changes anything, as without a network: what worked before still does.
		[[ ! -f $stamp.before ]] || mv -f -- "$stamp.before" "$stamp"
		die "pip could not install what is needed; see the messages above"
	fi
	check_imports "${extras[@]}"
	# A read-only checkout has no other chance to keep its compiled modules.
	"$venv/bin/python" -I -m compileall -q "$root/tracetw" >&2 || true
	write_stamp "$bcc" "${extras[*]}"
	# A checkout of a user stays that user's although the set-up ran under sudo.
	((EUID != 0)) || chown -R --reference="$root" -- "$venv"
}

# announce EXTRA...: what is about to be installed, and how much that is.
announce() {
	local extra download disk
	(($# > 0)) || say "bringing ${venv#"$PWD"/} up to date with pyproject.toml"
	for extra in "$@"; do
		read -r download disk <<<"${megabytes[$extra]}"
		say "installing from PyPI into ${venv#"$PWD"/}, for ${purpose[$extra]}; about $download MB to download, $disk MB on disk"
	done
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
	local size='' output=''
	((EUID == 0)) || die "not installed: $*; $(as_root)"
	if command -v apt-get >/dev/null; then
		# The lists may be missing or stale: they are fetched only when it does not work without.
		size=$(apt_size "$@") && apt_install "$@" && return
		say "fetching the package lists of the distribution"
		quietly apt-get update && { size=$(apt_size "$@") || true; } &&
			{ apt_install "$@" || { printf '%s\n' "$output" >&2 && false; }; }
	elif command -v dnf >/dev/null; then
		say "installing from the distribution: $*"
		quietly dnf -y install "$@"
	else
		die "not installed: $*; only apt-get and dnf are known here, install them by hand"
	fi || die "could not install $*; see the messages above"
}

# apt_size NAME...: what apt would download, and what it would take on disk, in apt's words.
apt_size() {
	local line size=
	while IFS= read -r line; do
		case $line in
		"Need to get "*) size="${line#Need to get }" size="${size%% of archives*} to download" ;;
		"After this operation, "*" of additional"*)
			line=${line#After this operation, }
			size+="${size:+, }${line%% of additional*} on disk"
			;;
		esac
	done < <(LC_ALL=C apt-get --assume-no --no-install-recommends install "$@" 2>/dev/null </dev/null)
	[[ -n $size ]] && printf '%s\n' "$size"
}

# apt_install NAME...: says $size; what apt says goes to $output.
apt_install() {
	say "installing from the distribution: $*${size:+; $size}"
	attempt env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -y \
		-o DPkg::Lock::Timeout=300 --no-install-recommends install "$@"
}

# venv_stands: it is one of this interpreter (a venv belongs to one version: after an upgrade of the
# distribution it is made anew), has pip, and sees nothing of the system's packages.
venv_stands() {
	local line
	[[ $venv/bin/python -ef $system_python && -f $venv/pyvenv.cfg ]] || return 1
	while read -r line; do
		[[ $line != include-system-site-packages*true* ]] || return 1
	done <"$venv/pyvenv.cfg"
	"$venv/bin/python" -I -c 'import pip' 2>/dev/null
}

# make_venv: sets $made when it is new.
make_venv() {
	local site
	if ! venv_stands; then
		say "making $venv"
		rm -f -- "$stamp"*
		quietly "$system_python" -I -m venv --clear -- "$venv" ||
			die "could not make $venv; see the messages above"
		made=1
	fi
	site=$("$venv/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	echo ../../../.. >"$site/tracetw-checkout.pth" || die "could not write to $site"
}

# install_requirements EXTRA...: what pyproject.toml asks for, all in one go.
install_requirements() {
	local requirements
	mapfile -t requirements < <("$venv/bin/python" -I - "$root/pyproject.toml" "$@" <<-'EOF'
		import sys
		try:
		    import tomllib
		except ImportError:  # Python 3.10
		    from pip._vendor import tomli as tomllib
		with open(sys.argv[1], encoding="utf-8") as file:
		    project = tomllib.loads(file.read())["project"]
		wanted = {"base": project["dependencies"], **project["optional-dependencies"]}
		print(*dict.fromkeys(each for extra in sys.argv[2:] for each in wanted[extra]), sep="\n")
	EOF
	)
	((${#requirements[@]} > 0)) || die "$root/pyproject.toml cannot be read"
	quietly "$venv/bin/python" -I -m pip --disable-pip-version-check install --quiet --no-input \
		-- "${requirements[@]}"
}

# check_imports EXTRA...: what was installed works, each module by itself.
check_imports() {
	local extra module output
	for extra in "$@"; do
		for module in ${modules[$extra]}; do
			output=$("$venv/bin/python" -I -c "import $module" 2>&1 </dev/null) ||
				die "$module is installed in $venv and cannot be imported: ${output##*$'\n'}; remove that folder and start again"
		done
	done
}

# write_stamp BCC EXTRAS
write_stamp() {
	local interpreter
	interpreter=$("$system_python" -I -c 'import os, sys; print(os.path.realpath(sys.executable))')
	printf '%s\n%s\n%s\n' "$interpreter" "$1" "$2" | cat -- - "$root/pyproject.toml" >"$stamp.new" ||
		die "could not write to $venv"
	mv -f -- "$stamp.new" "$stamp"
	rm -f -- "$stamp.before"
}
