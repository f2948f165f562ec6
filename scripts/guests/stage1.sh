#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: Apache-2.0
#
# First program of a guest, out of its initramfs: mounts what the host shares and goes on there. The
# host says over the port "control" what to do, as shell variables (scripts/guests/job.py).

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
echo "tracetw-vm: started" >/dev/console

# fail WHAT: the host reads the console, there may be nothing else yet.
fail() {
	echo "tracetw-vm: failed: $1" >/dev/console
	poweroff -f
}

# port NAME: its device, waited for; none when it never comes.
port() {
	n=0
	while [ $n -lt 100 ]; do
		for name in /sys/class/virtio-ports/*/name; do
			if [ "$(cat "$name" 2>/dev/null)" = "$1" ]; then
				name=${name%/name}
				echo "/dev/${name##*/}"
				return
			fi
		done
		usleep 100000
		n=$((n + 1))
	done
}

# share TAG PATH OPTIONS: a folder of the host.
share() {
	mkdir -p "$2"
	mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2" || fail "cannot mount $1 at $2"
}

# layer NAME LOWER PATH: LOWER, with a layer of its own to write to that nobody keeps.
layer() {
	mkdir -p "/upper/$1/upper" "/upper/$1/work"
	mount -t overlay -o "lowerdir=$2,upperdir=/upper/$1/upper,workdir=/upper/$1/work" none "$3" ||
		fail "cannot mount an overlay at $3"
}

while read -r module; do
	insmod "/modules/$module" || fail "cannot load $module"
done </modules/order

control=$(port control)
[ -n "$control" ] || fail "no port to the host"
exec 3<>"$control"
while IFS= read -r line <&3 && [ "$line" != "# end of job" ]; do
	printf '%s\n' "$line"
done >/job
checkout='' venv='' results=''
# shellcheck source=/dev/null
. /job

mount -t tmpfs -o size=80% none /upper
share root /lower/root ro,cache=loose
layer root /lower/root /new
mount -t tmpfs -o mode=755 none /new/run
mount -t tmpfs -o mode=1777 none /new/tmp
mkdir -p "/new$checkout"
share checkout /lower/checkout ro,cache=loose
layer checkout /lower/checkout "/new$checkout"
share modules /new/lib/modules ro,cache=loose
share images /new/var/cache/tracetw cache=none
[ -z "$venv" ] || share venv "/new$checkout/.venv" ro,cache=loose
[ -z "$results" ] || share results "/new$results" cache=none

mkdir -p /new/run/vm /new/dev /new/proc /new/sys
cp /bin/busybox /stage2 /job /new/run/vm/
for each in proc sys dev; do
	mount --move "/$each" "/new/$each"
done
# A shell that cannot do this ends, and with it the guest: the console says why.
exec switch_root -c /dev/console /new /run/vm/busybox sh /run/vm/stage2
