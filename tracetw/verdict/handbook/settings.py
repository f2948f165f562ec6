# SPDX-License-Identifier: Apache-2.0
"""What is believed of settings and counters and belongs to no single verdict or event."""

from __future__ import annotations

from tracetw.verdict.handbook.entry import Folklore

SETTINGS = (
    Folklore(
        "tcp_tw_recycle helps (or: breaks NAT).",
        "It is gone since 4.12, and with it the memory of each host's timestamps. Timestamps have a random "
        "offset for each pair of addresses (since 4.10 or 4.11), so clients behind a NAT meet PAWS only "
        "where they get the same port in TIME_WAIT, and then the kernel answers them and drops nothing in "
        "silence.",
    ),
    Folklore(
        "Turn tcp_timestamps off behind NAT.",
        "That takes away PAWS, connect() into TIME_WAIT, and the acceptance of SYNs by their timestamp "
        "(tcp_twsk_unique, tcp_timewait_state_process).",
    ),
    Folklore(
        "TIME-WAIT and FIN-WAIT-2 in ss are sockets of a process.",
        "With timer:(timewait) they are timewait sockets (struct inet_timewait_sock); the socket, its buffers "
        "and its owner are gone. tracetw remembers the owner.",
    ),
    Folklore(
        "The counter TW says how many are in TIME_WAIT, or entered it.",
        "Up to 5.15 it counts those whose timer ran out, in newer kernels those that entered; TWRecycled "
        "only reuse by connect(). How many there are now is in /proc/net/sockstat (tw).",
    ),
    Folklore(
        "net.ipv4.tcp_... is about IPv4.",
        "It is about TCP; there is no net.ipv6.tcp_... (ipv4_net_table serves both).",
    ),
    Folklore(
        "Each setting here is one for the host.",
        "Nearly all belong to the network namespace: set them in the container's. "
        "tcp_max_orphans and tcp_mem belong to the machine.",
    ),
)
