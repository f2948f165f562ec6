# SPDX-License-Identifier: Apache-2.0
"""TIME_WAIT and FIN_WAIT2: their events, and the settings that everybody has read something about."""

from __future__ import annotations

from tracetw.verdict.handbook.entry import Event, Folklore

__all__ = ["SETTINGS", "TIMEWAIT_EVENTS"]

TIMEWAIT_EVENTS = (
    Event(
        "fin-wait2",
        "An orphan waits in FIN_WAIT2 for the peer's FIN, as a mini-socket.",
        "tcp_time_wait with FIN_WAIT2, from tcp_rcv_state_process or __tcp_close",
        "four-way-close",
        "A moment for most. What stays is a peer that does not close: see fin-wait2-timeout. In `ss` it "
        "is FIN-WAIT-2 with timer:(timewait); without that it is a half-closed socket that an "
        "application still holds.",
    ),
    Event(
        "entered",
        "TIME_WAIT began. The connection's process is named, though the socket has none any more.",
        "tcp_time_wait, or tcp_timewait_state_process when the mini-socket gets the FIN",
        "three-segments",
        "It protects the next connection with the same addresses and ports from old segments, and "
        "answers if our last ACK was lost. It holds a port at this end only for connections to the "
        "same destination; a listening server does not run out of anything but buckets.",
        (
            Folklore(
                "TIME_WAIT lasts 2 MSL, and tcp_fin_timeout sets it.",
                "It lasts TCP_TIMEWAIT_LEN, 60 s, compiled in. tcp_fin_timeout is about FIN_WAIT2.",
            ),
            Folklore(
                "Much TIME_WAIT is a fault, to be cured by SO_LINGER 0.",
                "It is what every active close leaves (tcp_time_wait). RST in its place throws away what the "
                "peer has not read (abort-linger).",
            ),
        ),
    ),
    Event(
        "reacked",
        "The peer's FIN came again, so our last ACK had been lost: TIME_WAIT acknowledged once more.",
        "tcp_timewait_state_process, TCP_TW_ACK",
        "last-ack-lost-once",
        "TIME_WAIT at work. Many of them: packets are lost on the way to the peer. Acknowledgements to one "
        "mini-socket come at most every net.ipv4.tcp_invalid_ratelimit (500 ms).",
    ),
    Event(
        "expired",
        "TIME_WAIT ended by its timer, after 60 s.",
        "tw_timer_handler, inet_twsk_kill",
        "time-wait-expires",
        "The usual end. The timer wheel may add a second.",
        (
            Folklore(
                "TIME_WAIT is over after 60 s.",
                "60 s after the last segment that made it acknowledge, or that was a plain ACK: "
                "tcp_timewait_state_process starts the timer anew.",
            ),
        ),
    ),
    Event(
        "overflow",
        "net.ipv4.tcp_max_tw_buckets was reached: no TIME_WAIT, or no wait for the peer's FIN.",
        "inet_twsk_alloc returns NULL (TCPTimeWaitOverflow)",
        "time-wait-overflow",
        "In FIN_WAIT2 it gives the peer a RST for its FIN ([undetermined](#undetermined) shows that); "
        "after the peer's FIN it takes the protection from old segments. Raise the limit: it is one for "
        "each network namespace, half of the hash table's size by default.",
        (
            Folklore(
                "A low tcp_max_tw_buckets is a good way to have fewer TIME_WAIT.",
                "It turns clean closes into ECONNRESET at the peer, for the limit counts FIN_WAIT2 "
                "mini-sockets as well.",
            ),
        ),
    ),
    Event(
        "reused-by-connect",
        "connect() took the port of a connection in TIME_WAIT.",
        "__inet_check_established, tcp_twsk_unique (TWRecycled)",
        "time-wait-reused-by-bind",
        "How a busy client gets on with few ports. Needs timestamps. With net.ipv4.tcp_tw_reuse 1 from an "
        "age of 1 s on (6.14 and newer: net.ipv4.tcp_tw_reuse_delay), 2 (the default since 4.19) only on "
        "loopback.",
        (
            Folklore(
                "tcp_tw_reuse helps servers.",
                "It is about connect() alone. A server in TIME_WAIT accepts a new SYN anyway: see "
                "[reused-by-syn](#reused-by-syn).",
            ),
            Folklore(
                "Without tcp_tw_reuse a port in TIME_WAIT cannot be used.",
                "bind() to it and then connect(): tcp_twsk_unique allows it at once and whatever the "
                "setting, as in this ladder with tcp_tw_reuse 0. (SO_REUSEADDR lets bind() do it; "
                "timestamps are needed.)",
            ),
        ),
    ),
    Event(
        "reused-by-syn",
        "A new SYN with the same addresses and ports ended TIME_WAIT and was accepted.",
        "tcp_timewait_state_process, TCP_TW_SYN; then the listener",
        "time-wait-reused-by-syn",
        "Harmless, and why a server need not fear its own TIME_WAIT. The SYN must be newer: by its sequence "
        "number or its timestamp. The kernel has no counter for it.",
        (
            Folklore(
                "A server in TIME_WAIT refuses the client's next connection from that port.",
                "Only a SYN that is not newer, or fails PAWS, is not accepted; and it is answered with an "
                "ACK, to which the client's RST ends TIME_WAIT, so that its repeated SYN gets in.",
            ),
        ),
    ),
    Event(
        "killed-by-reset",
        "A RST ended TIME_WAIT before its time.",
        "tcp_timewait_state_process, with net.ipv4.tcp_rfc1337 0",
        "time-wait-killed-by-old-segment",
        "Usually nobody attacked: TIME_WAIT acknowledges a stray segment, and the peer, which has no "
        "connection any more, answers the ACK with RST. Risk: old segments meet a new connection on the same ports. "
        "net.ipv4.tcp_rfc1337 1 prevents it. Not counted by the kernel.",
        (
            Folklore(
                "tcp_rfc1337 0 prevents the assassination of TIME_WAIT.",
                "So says the kernel's ip-sysctl, and it reads backwards: with 0, the default, a RST ends TIME_WAIT; with 1 it is ignored "
                "(scenario `time-wait-survives-reset`).",
            ),
        ),
    ),
)

SETTINGS = (
    Folklore(
        "tcp_tw_recycle helps (or: breaks NAT).",
        "It is gone since 4.12, and with it the memory of each host's timestamps. Timestamps have a random "
        "offset for each pair of addresses (since 4.10 or 4.11), so clients behind a NAT meet PAWS only "
        "where they get the same port in TIME_WAIT, and are answered then, not dropped.",
    ),
    Folklore(
        "Turn tcp_timestamps off behind NAT.",
        "That takes away PAWS, connect() into TIME_WAIT, and the acceptance of SYNs by their timestamp "
        "(tcp_twsk_unique, tcp_timewait_state_process).",
    ),
    Folklore(
        "TIME-WAIT and FIN-WAIT-2 in ss are sockets of a process.",
        "With timer:(timewait) they are mini-sockets (struct inet_timewait_sock); the socket, its buffers "
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
"""What is believed of settings and counters and belongs to no single event."""
