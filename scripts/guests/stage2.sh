#!/bin/sh
# shellcheck shell=dash
# SPDX-License-Identifier: Apache-2.0
#
# Second program of a guest, still process 1: what a system has, then the command. Its status goes to
# the port "control" when all of its output has gone to the ports "out" and "err".

box=/run/vm/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

port() {
	for name in /sys/class/virtio-ports/*/name; do
		if [ "$($box cat "$name")" = "$1" ]; then
			name=${name%/name}
			echo "/dev/${name##*/}"
		fi
	done
}

$box mount -t cgroup2 none /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
$box mount -t tracefs none /sys/kernel/tracing
$box mount -t bpf none /sys/fs/bpf
$box mkdir -p /dev/pts /dev/shm /run/lock
$box mount -t devpts -o ptmxmode=666 none /dev/pts
$box mount -t tmpfs -o mode=1777 none /dev/shm
$box ln -sfn /proc/self/fd /dev/fd
for each in 0:stdin 1:stdout 2:stderr; do
	$box ln -sfn "/proc/self/fd/${each%:*}" "/dev/${each#*:}"
done
$box ip link set lo up
# As systemd has it; the kernel's own is 4,096.
ulimit -H -n 524288

name='' checkout='' command=''
# shellcheck source=/dev/null
. /run/vm/job
$box hostname "$name"
# Descriptor 3 is the port "control", open since stage1.sh: a port can be opened only once. So the
# command writes to pipes, as it would elsewhere.
for each in out err; do
	$box mkfifo -m 600 "/run/vm/$each"
	$box cat <"/run/vm/$each" >"$(port $each)" 3>&- &
done
echo started >&3
cd -- "$checkout" || echo "cannot enter $checkout" >&2
# Not by the shell that this is: it prefers what busybox has to programs of the same name. Not in the
# background: a shell has that ignore SIGINT, and so would all that it starts.
$box setsid /bin/sh -c "$command" >/run/vm/out 2>/run/vm/err </dev/null 3>&-
status=$?

# What the command left running may hold the pipes for ever.
n=0
while [ $n -lt 20 ] && [ -n "$(jobs -p)" ]; do
	$box usleep 100000
	jobs >/dev/null
	n=$((n + 1))
done
echo "exit $status" >&3
exec 3>&-
$box sync
$box poweroff -f
