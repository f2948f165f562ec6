#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: Apache-2.0
#
# First program of a box, out of its initramfs: loads what leads to the disk and goes on there.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev

while read -r module; do
	insmod "/modules/$module" 2>/dev/null
done </modules/order

# The disk may take a moment to appear; the kernel takes its name from the command line.
root=$(sed -n 's/.*root=\([^ ]*\).*/\1/p' /proc/cmdline)
n=0
while [ ! -b "$root" ] && [ $n -lt 300 ]; do
	usleep 100000
	n=$((n + 1))
done
if ! mount -t ext4 "$root" /new; then
	echo "tracetw-box: cannot mount $root" >/dev/console
	poweroff -f
fi
for each in proc sys dev; do
	mount --move "/$each" "/new/$each"
done
exec switch_root -c /dev/console /new /sbin/init
