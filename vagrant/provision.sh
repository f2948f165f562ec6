#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# provision.sh NAME VIA ROUTER "MAC ADDRESS"...: what makes a machine of a box; the same on every box. Vagrant
# runs it as root. Without a network it needs nothing that a box of scripts/build-box has not.

set -eu

name=$1 via=$2 router=$3
shift 3
place=/opt/tracetw

# Vagrant's own way asks services that a small box has not, and starts the interfaces again.
if [ "$(hostname)" != "$name" ]; then
	echo "$name" >/etc/hostname
	hostname "$name"
	echo "127.0.1.1 $name" >>/etc/hosts
fi

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

# The checkout is replaced; its environment stays, and is set up again when something else is required. So does what
# Python compiled: it is of use for every file that has not changed.
mkdir -p "$place"
stamp=$place/.venv/.set-up
if [ -f "$stamp" ]; then
	cp "$place/pyproject.toml" "$place/.before"
fi
for part in bpf tracetw scripts; do
	[ ! -d "$place/$part" ] || find "$place/$part" ! -type d ! -name '*.pyc' -delete
done
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
		# Without what was added since: the lab calls it before each play.
		echo "ip address flush dev \"\$device\""
		echo "ip address replace $address dev \"\$device\" && ip link set \"\$device\" up"
	done
	echo "nft flush ruleset"
	echo "while ip rule del prio 10 2>/dev/null; do :; done"
	echo "ip mptcp endpoint flush 2>/dev/null || :"
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
