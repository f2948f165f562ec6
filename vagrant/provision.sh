#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# provision.sh VIA ROUTER "MAC ADDRESS"...: what makes a machine of a box; the same on every box. Vagrant
# runs it as root. Without a network it needs nothing that a box of scripts/build-box has not.

set -eu

via=$1 router=$2
shift 2
place=/opt/tracetw

missing=
for each in ip:iproute2 nft:nftables conntrack:conntrack; do
	command -v "${each%:*}" >/dev/null || missing="$missing ${each#*:}"
done
if [ -n "$missing" ]; then
	apt-get -qq update
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing
fi

# requirements FILE: of a pyproject.toml, what pip is asked for.
requirements() {
	sed -n '/^dependencies = /,/^\[project.scripts\]/p' "$1"
}

# The checkout is replaced; its environment stays, and is set up again when something else is required.
mkdir -p "$place"
stamp=$place/.venv/.set-up
if [ -f "$stamp" ]; then
	cp "$place/pyproject.toml" "$place/.before"
fi
rm -rf "$place/bpf" "$place/tracetw" "$place/scripts"
tar -C "$place" --no-same-owner -xf /tmp/tracetw.tar
if [ -f "$stamp" ] && [ "$(requirements "$place/.before")" = "$(requirements "$place/pyproject.toml")" ]; then
	head -n 3 "$stamp" | cat - "$place/pyproject.toml" >"$stamp.new"
	mv "$stamp.new" "$stamp"
fi
"$place/scripts/setup" recording
sha256sum </tmp/tracetw.tar | cut -d' ' -f1 >"$place/.archive"
rm -f /tmp/tracetw.tar "$place/.before"

# Addresses go to the interface with that link address, whatever it is called, at every boot.
{
	echo "#!/bin/sh"
	echo "# Written by vagrant/provision.sh"
	for line in "$@"; do
		mac=${line% *} address=${line#* }
		echo "device=\$(grep -il '^$mac\$' /sys/class/net/*/address | head -n 1)"
		echo "device=\${device%/address} device=\${device##*/}"
		# No other segments than those of TCP's own making: one is one on the wire.
		echo "ip address replace $address dev \"\$device\" && ip link set \"\$device\" up"
	done
	[ -z "$via" ] || echo "ip route replace 10.98.0.0/16 via $via"
	if [ -n "$router" ]; then
		echo "sysctl -q net.ipv4.ip_forward=1"
		echo "nft -f /etc/tracetw-router.nft"
	fi
} >/usr/local/sbin/tracetw-lab-net
chmod 755 /usr/local/sbin/tracetw-lab-net
if [ -n "$router" ]; then
	for last in "$@"; do :; done
	outside=${last#* }
	cat >/etc/tracetw-router.nft <<-END
		table ip tracetw
		delete table ip tracetw
		table ip tracetw {
			chain translate {
				type nat hook postrouting priority 100
				ip saddr 10.98.0.0/16 ip daddr 10.98.3.0/24 snat to ${outside%/*}
			}
		}
	END
fi
cat >/etc/systemd/system/tracetw-lab-net.service <<'END'
[Unit]
Description=Addresses of the interfaces of the lab
After=systemd-udevd.service network.target
Before=ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/tracetw-lab-net
[Install]
WantedBy=multi-user.target
END
systemctl -q daemon-reload
systemctl -q enable tracetw-lab-net
systemctl restart tracetw-lab-net
