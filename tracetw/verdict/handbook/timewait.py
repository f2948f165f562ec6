# SPDX-License-Identifier: Apache-2.0
"""TIME_WAIT and FIN_WAIT2: their events."""

from __future__ import annotations

from tracetw.verdict.handbook.entry import EventEntry, Folklore, OnCall, Question

TIMEWAIT_EVENTS = (
    EventEntry(
        "fin-wait2",
        "An orphan waits in FIN_WAIT2 for the peer's FIN, as a timewait socket.",
        "tcp_time_wait with FIN_WAIT2, from tcp_rcv_state_process or __tcp_close",
        "Nothing to do: for most it is a moment of every active close.",
        OnCall(
            "four-way-close",
            causes=(
                Question(
                    "Do many stay as FIN-WAIT-2 with timer:(timewait) in `ss -tno`?",
                    "The peers do not close their ends: go on with fin-wait2-timeout.",
                ),
                Question(
                    "Do many stay as FIN-WAIT-2 without that timer?",
                    "These are half-closed sockets that an application still holds: `ss -tnp` names it.",
                    "All is well.",
                ),
            ),
            settings=(
                "net.ipv4.tcp_fin_timeout (60 s): how long the timewait socket waits for the FIN.",
            ),
            sure="The timewait socket is in the hash table, in substate FIN_WAIT2, when the full socket goes "
            "to CLOSE.",
        ),
    ),
    EventEntry(
        "entered",
        "TIME_WAIT began. The event names the connection's process, though the socket has none any more.",
        "tcp_time_wait, or tcp_timewait_state_process when the timewait socket gets the FIN",
        "Nothing to do: every active close leaves one.",
        OnCall(
            "three-segments",
            causes=(
                Question(
                    "Does connect() fail with EADDRNOTAVAIL on this host?",
                    "TIME_WAIT holds the local ports to one destination. Use connections again; see the "
                    "settings of orderly.",
                ),
                Question(
                    "Does TCPTimeWaitOverflow grow (`nstat -az`)?",
                    "The buckets are used up: see [overflow](overflow.md).",
                    "Leave it: TIME_WAIT protects the next connection with the same addresses and ports from "
                    "old segments, and answers if our last ACK was lost.",
                ),
            ),
            settings=(
                (
                    "Its length is TCP_TIMEWAIT_LEN, 60 s, compiled in. A listening server runs out of "
                    "nothing but buckets: net.ipv4.tcp_max_tw_buckets."
                ),
            ),
            sure="The timewait socket itself, or the FIN that it got.",
            folklore=(
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
    ),
    EventEntry(
        "reacked",
        "The peer sent its FIN a second time, so our last ACK had been lost: TIME_WAIT acknowledged once more.",
        "tcp_timewait_state_process, TCP_TW_ACK",
        "Nothing to do for a few: TIME_WAIT at work.",
        OnCall(
            "last-ack-lost-once",
            causes=(
                Question(
                    "Are there many from one peer or network?",
                    "Packets are lost on the way to it: look for retransmissions (`--events retransmit`) "
                    "of its other connections.",
                    "One ACK was lost.",
                ),
            ),
            settings=(
                (
                    "net.ipv4.tcp_invalid_ratelimit (500 ms): the shortest time between two ACKs of one timewait "
                    "socket."
                ),
            ),
            sure="The FIN met the timewait socket in TIME_WAIT.",
        ),
    ),
    EventEntry(
        "expired",
        "TIME_WAIT ended by its timer, after 60 s.",
        "tw_timer_handler, inet_twsk_kill",
        "Nothing to do: the usual end.",
        OnCall(
            "time-wait-expires",
            causes=(
                Question(
                    "Is age_ms well above 60 s?",
                    "A segment that TIME_WAIT acknowledged, or a plain ACK, started the timer anew.",
                    "The usual end. The timer wheel may add a second.",
                ),
            ),
            settings=("None: 60 s are compiled in (TCP_TIMEWAIT_LEN).",),
            sure="The timer's handler ran for this timewait socket.",
            folklore=(
                Folklore(
                    "TIME_WAIT is over after 60 s.",
                    "60 s after the last segment that made it acknowledge, or that was a plain ACK: "
                    "tcp_timewait_state_process starts the timer anew.",
                ),
            ),
        ),
    ),
    EventEntry(
        "overflow",
        "net.ipv4.tcp_max_tw_buckets was reached: no TIME_WAIT, or no wait for the peer's FIN.",
        "inet_twsk_alloc returns NULL (TCPTimeWaitOverflow)",
        "Raise net.ipv4.tcp_max_tw_buckets in that network namespace.",
        OnCall(
            "time-wait-overflow",
            causes=(
                Question(
                    "Does the connection's line say [undetermined](undetermined.md)?",
                    "It happened in FIN_WAIT2: the kernel answers the peer's FIN with RST, so a clean close is "
                    "ECONNRESET there.",
                    "It happened after the peer's FIN: the close is clean, and only the protection from old "
                    "segments is missing.",
                ),
            ),
            settings=(
                (
                    "net.ipv4.tcp_max_tw_buckets: one limit for each network namespace, half of the hash table's "
                    "size by default. Raise it, or make fewer connections."
                ),
            ),
            sure="With a function probe the refusal itself; without, there was no timewait socket although "
            "one was due, and no other reason for that.",
            folklore=(
                Folklore(
                    "A low tcp_max_tw_buckets is a good way to have fewer TIME_WAIT.",
                    "It turns clean closes into ECONNRESET at the peer, for the limit counts timewait sockets "
                    "in FIN_WAIT2 as well.",
                ),
            ),
        ),
    ),
    EventEntry(
        "reused-by-connect",
        "connect() took the port of a connection in TIME_WAIT.",
        "__inet_check_established, tcp_twsk_unique (TWRecycled)",
        "Nothing to do: so a busy client gets on with few ports.",
        OnCall(
            "time-wait-reused-by-bind",
            causes=(
                Question(
                    "Did the program bind() the port first?",
                    "tcp_twsk_unique allows that at once, whatever net.ipv4.tcp_tw_reuse says.",
                    "net.ipv4.tcp_tw_reuse allows it: 1 for every destination, 2 on loopback.",
                ),
            ),
            settings=(
                (
                    "net.ipv4.tcp_tw_reuse 1: from an age of 1 s on (6.14 and newer: "
                    "net.ipv4.tcp_tw_reuse_delay). 2, the default since 4.19: only on loopback. Both need timestamps."
                ),
            ),
            sure="With a function probe tcp_twsk_unique itself; without, a new connection with the same "
            "addresses and ports began during TIME_WAIT.",
            folklore=(
                Folklore(
                    "tcp_tw_reuse helps servers.",
                    "It is about connect() alone. A server in TIME_WAIT accepts a new SYN anyway: see "
                    "reused-by-syn.",
                ),
                Folklore(
                    "Without tcp_tw_reuse a port in TIME_WAIT cannot be used.",
                    "bind() to it and then connect(): tcp_twsk_unique allows it at once and whatever the "
                    "setting, as in this ladder with tcp_tw_reuse 0. (SO_REUSEADDR lets bind() do it; "
                    "timestamps are needed.)",
                ),
            ),
        ),
    ),
    EventEntry(
        "reused-by-syn",
        "A new SYN with the same addresses and ports ended TIME_WAIT, and the listener accepted it.",
        "tcp_timewait_state_process, TCP_TW_SYN; then the listener",
        "Nothing to do: this is why a server need not fear its own TIME_WAIT.",
        OnCall(
            "time-wait-reused-by-syn",
            causes=(
                Question(
                    "Does the client use a fixed local port, or few?",
                    "It connects from the same port within 60 s.",
                    "A NAT gave the port to another client, or the client took it by chance.",
                ),
            ),
            settings=(
                (
                    "net.ipv4.tcp_timestamps 1 (the default) lets more SYNs count as newer: by timestamp as well as "
                    "by sequence number."
                ),
            ),
            sure="The kernel has no counter for it: tracetw sees the SYN meet the timewait socket.",
            folklore=(
                Folklore(
                    "A server in TIME_WAIT refuses the client's next connection from that port.",
                    "Only a SYN that is not newer, or fails PAWS, does not get in; the kernel answers it with an "
                    "ACK, to which the client's RST ends TIME_WAIT, so that its repeated SYN gets in.",
                ),
            ),
        ),
    ),
    EventEntry(
        "killed-by-reset",
        "A RST ended TIME_WAIT before its time.",
        "tcp_timewait_state_process, with net.ipv4.tcp_rfc1337 0",
        "Nothing to do for a few: usually nobody attacked.",
        OnCall(
            "time-wait-killed-by-old-segment",
            causes=(
                Question(
                    "Does `tcpdump` show an ACK of ours just before the RST?",
                    "A stray segment met TIME_WAIT, TIME_WAIT acknowledged it, and the peer, which has no "
                    "connection any more, answered the ACK with RST.",
                    "The RST came unasked: from the peer, a box on the way, or somebody who guesses.",
                ),
            ),
            settings=(
                (
                    "net.ipv4.tcp_rfc1337 1: TIME_WAIT ignores RST. With 0 old segments may meet a new "
                    "connection on the same ports."
                ),
            ),
            sure="The RST met the timewait socket, which then was gone. The kernel does not count it.",
            folklore=(
                Folklore(
                    "tcp_rfc1337 0 prevents the assassination of TIME_WAIT.",
                    "So says the kernel's ip-sysctl, and it reads backwards: with 0, the default, a RST ends "
                    "TIME_WAIT; with 1 it is ignored (scenario `time-wait-survives-reset`).",
                ),
            ),
        ),
    ),
)
