#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# probe.sh MARK: run in a guest by test_rows.py; one line for each thing that it finds.

say() {
	printf '%s=%s\n' "$1" "$2"
}

say release "$(uname -r)"
say interfaces "$(cd /sys/class/net && echo *)"
say loopback "$(ip -brief address show dev lo | tr -s ' ')"
say here "$PWD"
say patience "$TRACETW_PATIENCE"
say clock "$(date +%s)"
say root_of_host "$(touch /written-in-a-guest "$PWD/written-in-a-guest" && echo written)"
say mounts "$(cut -d' ' -f3 /proc/mounts | sort -u | tr '\n' ' ')"
say cache "$(stat -c '%a %u' /var/cache/tracetw)"
say veth "$(ip link add v0 type veth peer name v1 2>&1 && echo made)"
say nft "$(nft add table inet probe 2>&1 && echo made)"
say pipe "$(bash -c 'cat <(echo read)' 2>&1)"
say ignored "$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status)"
say avx "$(grep -c -w avx /proc/cpuinfo)"
say mark "$1"
cp /proc/mounts /run/results/mounts
if [ "$CI" != true ]; then
	.venv/bin/python -I -m tracetw doctor -o json >/run/results/doctor.json || exit 1
	.venv/bin/python -I -m tracetw trace --duration 1 -o json | tail -n 1 >/run/results/summary.json
fi
# Who goes on does not keep the guest.
sleep 100000 &
echo "to the standard error" >&2
exit 7
