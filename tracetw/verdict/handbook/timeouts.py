# SPDX-License-Identifier: Apache-2.0
"""Ends by a timer of this side: nobody answered for long enough."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.entry import Folklore, OnCall, Question

TIMEOUTS: Mapping[str, OnCall] = {
    "retransmit-exhausted": OnCall(
        "data-retries-exhausted",
        causes=(
            Question(
                "Do all connections to that peer fail?",
                "The peer's host or the way to it went: power, cable, a changed security group, a route. "
                "`ip route get ADDRESS` and a capture at the peer say how far packets get.",
            ),
            Question(
                "Do the handshake and small requests work, and only large ones hang?",
                "Path MTU: large packets vanish and the ICMP that should say so does, too. "
                "net.ipv4.tcp_mtu_probing 1 helps.",
            ),
            Question(
                "Had the connection been idle before?",
                "A firewall on the way may have forgotten the connection and drop what it does not know. Start "
                "keepalives below its idle timeout.",
                "Look while it lasts: `ss -tino` shows backoff and unacked; capture at both ends to see "
                "whether the data or its ACKs are lost.",
            ),
        ),
        settings=(
            (
                "TCP_USER_TIMEOUT for sockets that must know sooner, as 30000 ms: ends a connection in any "
                "outage that lasts longer."
            ),
            (
                "net.ipv4.tcp_retries2 8 (about 102 s; RFC 1122 wants at least 100 s) for everything in the "
                "namespace, in place of 15 (at least 924.6 s)."
            ),
            "net.ipv4.tcp_mtu_probing 1 tries smaller segments when nothing gets through.",
        ),
        sure="proven: ETIMEDOUT with data unacknowledged that was retransmitted at least once. This side "
        "cannot see what stopped the packets, or their ACKs. Where `why` says that segments were refused, packets "
        "came, and it has the kernel's reason for the last one.",
        folklore=(
            Folklore(
                "tcp_retries2 is a number of retransmissions.",
                "It is a time: retransmits_timed_out computes how long so many attempts would take from "
                "a timeout of 200 ms on (15: 924.6 s). A long round trip makes fewer attempts, an ICMP "
                "error more.",
            ),
            Folklore(
                "The kernel tells the peer that it gives up.",
                "tcp_write_err sends nothing. The peer learns of it when it sends: peer-lost-state there.",
            ),
        ),
    ),
    "fin-exhausted": OnCall(
        "fin-exhausted-fin-wait1",
        causes=(
            Question(
                "Are the peers phones or laptops?",
                "Clients vanish: they change networks or sleep. Nothing to do, unless `evidence` has "
                "unacked-data and the data matters.",
            ),
            Question(
                "Had the connection been idle before close()?",
                "A firewall or NAT that forgot the idle connection drops the FIN. The application has "
                "closed and gone on, so nobody notices.",
                "The peer's host or the way to it went: go on with retransmit-exhausted.",
            ),
        ),
        settings=(
            (
                "net.ipv4.tcp_orphan_retries: 3 gives up after about 3 s, 5 after about 13 s, 0 (that is 8) "
                "after about 102 s, or when the back-off reaches TCP_RTO_MAX (120 s; from 6.15 on "
                "net.ipv4.tcp_rto_max_ms, or TCP_RTO_MAX_MS of the socket), if that comes first. Lower costs the end "
                "of the data when the network fails for that long."
            ),
            "If the data matters, let the peer confirm it in the protocol before close().",
        ),
        sure="proven: ETIMEDOUT in FIN_WAIT1, CLOSING or LAST_ACK with something retransmitted and "
        "unacknowledged. unacked-data says whether data was lost with the FIN, or perhaps only its ACK.",
        now=(
            (
                "Many of them at once: compare orphan in /proc/net/sockstat with net.ipv4.tcp_max_orphans; "
                "past that comes abort-memory."
            ),
        ),
        folklore=(
            Folklore(
                "A FIN is repeated until tcp_retries2.",
                "After close() the socket is an orphan, and tcp_orphan_retries decides. Only a FIN by "
                "shutdown() is repeated until tcp_retries2, while the descriptor is open.",
            ),
            Folklore(
                "tcp_orphan_retries 0 means no repetition.",
                "tcp_orphan_retries() makes 8 of it, but only while the timeout is below TCP_RTO_MAX (120 s; from "
                "6.15 on net.ipv4.tcp_rto_max_ms). Once it has grown to that, 0 means 0, and the next timeout ends "
                "the orphan.",
            ),
            Folklore(
                "The first repetition is a timeout, and doubles the timer.",
                "It is a tail loss probe as a rule: tcp_send_loss_probe. Nor does a RST follow the last "
                "one.",
            ),
        ),
    ),
    "user-timeout": OnCall(
        "user-timeout",
        causes=(
            Question(
                "Does `evidence` have window-zero?",
                "The peer stopped reading for longer than the limit: pauses for garbage collection, a "
                "stopped container, a debugger. With probes-unanswered in `evidence` it was silent as well.",
            ),
            Question(
                "Do other connections to the peer work?",
                "The limit is shorter than an outage of this one path or the time the peer needed: raise "
                "it above what must be survived.",
                "The network or the peer does not work; the limit does. Go on with retransmit-exhausted.",
            ),
        ),
        settings=(
            (
                "TCP_USER_TIMEOUT (gRPC sets it, HAProxy by tcp-ut): above the longest pause and failover that "
                "is to be survived."
            ),
            (
                "With keepalive: at least the time that TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT make "
                "together, for it replaces the count."
            ),
        ),
        sure="proven: the option was set, the error is ETIMEDOUT, and something of ours was unanswered. "
        "`limit` has its value and the time that went by.",
        folklore=(
            Folklore(
                "TCP_USER_TIMEOUT is about data that was sent.",
                "Also about a closed window, though the peer acknowledges every probe (tcp_probe_timer), "
                "and about keepalive: with it set, tcp_keepalive_timer ignores the number of probes.",
            ),
        ),
    ),
    "keepalive-expired": OnCall(
        "keepalive-expired",
        causes=(
            Question(
                "Does `ss -tn` at the peer still show the connection as ESTAB?",
                "A NAT, firewall or load balancer forgot the idle connection and drops the probes. Start "
                "keepalives below its idle timeout.",
                "The idle peer went without a word: power, a killed virtual machine, a laptop that sleeps. "
                "Nothing to do at this end.",
            ),
        ),
        settings=(
            (
                "Start below the shortest idle timeout on the way: TCP_KEEPIDLE 60, TCP_KEEPINTVL 10, "
                "TCP_KEEPCNT 6 find a dead peer in two minutes and keep a NAT's entry alive. Costs a packet a "
                "minute for each connection (and wakes phones)."
            ),
            (
                "net.ipv4.tcp_keepalive_time (7200 s), `_intvl` (75 s) and `_probes` (9) are the defaults of "
                "sockets with SO_KEEPALIVE: more than two hours."
            ),
        ),
        sure="proven: tcp_keepalive_timer sends a RST first, and probes were unanswered with nothing else of "
        "ours on its way. 6.12 and newer give TCP_KEEPALIVE_TIMEOUT as the reason.",
        folklore=(
            Folklore(
                "A keepalive that runs out ends the connection in silence.",
                "The prober sends RST with ACK (tcp_send_active_reset). If only the answers were lost, "
                "the peer sees peer-reset.",
            ),
            Folklore(
                "tcp_keepalive_time covers all connections.",
                "Only sockets whose application has set SO_KEEPALIVE.",
            ),
            Folklore(
                "The number of probes decides.",
                "Not with TCP_USER_TIMEOUT: then its time does, from one unanswered probe on, and the "
                "verdict is user-timeout.",
            ),
        ),
    ),
    "window-probe-expired": OnCall(
        "zero-window-exhausted",
        causes=(
            Question(
                "Does `evidence` have orphan?",
                "This side closed with data unsent to a peer that never reads. The peer may be alive and answer "
                "every probe: the kernel gives an orphan up all the same once the distance of the probes has grown to "
                "TCP_RTO_MAX (tcp_probe_timer).",
                "The receiver stopped reading (blocked thread, full disk, stopped container) and then its "
                "host or the way to it went, too. At the peer: who reads this socket, and why not? `ss -tn` "
                "there shows Recv-Q full.",
            ),
        ),
        settings=(
            (
                "A limit of the application's own for writes that make no progress (SO_SNDTIMEO, the "
                "deadline of the library) ends it while the peer is still there."
            ),
            "TCP_USER_TIMEOUT: ends live but slow readers as well.",
        ),
        sure="proven: ETIMEDOUT, something to send and the window closed. `probes` and `limit` say whether "
        "the probes were unanswered or the window never opened.",
        folklore=(
            Folklore(
                "A closed window times out after tcp_retries2.",
                "Each answer sets icsk_probes_out back to 0, so a live peer that never reads holds the "
                "connection for ever; unless TCP_USER_TIMEOUT is set or the socket is an orphan "
                "(tcp_probe_timer).",
            ),
        ),
    ),
    "fin-wait2-timeout": OnCall(
        "fin-wait2-timeout",
        causes=(
            Question(
                "Is this end a server that closes idle keep-alive connections?",
                "The client does not look at its pooled connections: they stay in CLOSE_WAIT there. "
                "Harmless until the client sends: it gets RST (peer-reset there; peer-lost-state if it only "
                "closes).",
            ),
            Question(
                "Does the protocol let the peer go on for long after our FIN (a half-closed stream)?",
                "The first closer must use `shutdown(SHUT_WR)`, not close().",
                "The peer's application leaks descriptors: `ss -tnp state close-wait` there names the process.",
            ),
        ),
        settings=(
            "Pools: an idle limit below the server's, or a look at the socket before its use.",
            (
                "net.ipv4.tcp_fin_timeout up to 60 (the default) is what it says; leave it. Lower, as 15, "
                "frees memory sooner and gives slow peers a RST. TCP_LINGER2 is the same for one socket."
            ),
        ),
        sure="proven: the timewait socket's own timer ran out. Where nobody saw the end of the timewait "
        "socket, the end is undetermined (`mini-socket-end`).",
        folklore=(
            Folklore(
                "tcp_fin_timeout is the length of TIME_WAIT.",
                "It is the longest wait of an orphan in FIN_WAIT2. TIME_WAIT is TCP_TIMEWAIT_LEN, 60 s, "
                "compiled in.",
            ),
            Folklore(
                "tcp_fin_timeout 62 waits for 62 s.",
                "Above 60 the full socket waits for the rest (2 s), then a timewait socket for the rest once "
                "more: about 4 s in all (tcp_rcv_state_process, tcp_keepalive_timer). 60 means 60.",
            ),
            Folklore(
                "FIN_WAIT2 always times out.",
                "Only for an orphan. After `shutdown(SHUT_WR)` with the descriptor open there is no limit.",
            ),
        ),
    ),
    "unreachable": OnCall(
        "icmp-host-unreachable",
        causes=(
            Question(
                "Does `ip neigh show ADDRESS` say FAILED or INCOMPLETE?",
                "The peer, or the gateway, is on this network and does not answer for its link address: "
                "down, or the address moved.",
            ),
            Question(
                "Does `tcpdump -ni any icmp or icmp6` show an unreachable message?",
                "A router without a route, or a firewall that rejects with ICMP: the source of the message "
                "says which.",
                "What remains is this host: it has no route (EINVAL: a blackhole route, EACCES: a prohibited one), see "
                "`ip route get ADDRESS`.",
            ),
        ),
        settings=(
            "net.ipv4.tcp_retries2 or TCP_USER_TIMEOUT decide for how long the kernel tries, as ever.",
        ),
        sure="proven: only an ICMP error or a missing route sets that error, and something of ours was unanswered. The "
        "record says neither which of them it was nor who sent the ICMP error.",
        folklore=(
            Folklore(
                "An ICMP error ends an established connection.",
                "tcp_v4_err notes it in sk_err_soft and goes on. It becomes the error when the retries "
                "are used up. (With IP_RECVERR the application gets it at once; the connection lives.)",
            ),
            Folklore(
                "A host that is down gives ETIMEDOUT.",
                "EHOSTUNREACH, if ARP fails or a router reports it.",
            ),
            Folklore(
                "The timer doubles with each attempt, always.",
                "Each ICMP error takes a doubling back (tcp_ld_RTO_revert, RFC 6069): see the even "
                "distances in the ladder.",
            ),
        ),
    ),
    "output-blocked": OnCall(
        "output-blocked",
        causes=(
            Question(
                "Does a counter of `nft list ruleset` or `iptables -vnL OUTPUT` grow with each attempt?",
                "A rule in the output hook of this host's own firewall drops the packets: a security agent, "
                "a network policy, a leftover of a test.",
            ),
            Question(
                "Does dropped grow in `tc -s qdisc`?",
                "A queueing discipline or a tc action drops them.",
                "What remains is a policy route into nowhere: `ip rule`, `ip route get ADDRESS`.",
            ),
        ),
        settings=("None: the rule must go, or let the packets pass.",),
        sure="proven: ETIMEDOUT with data never sent although the window was open. Loss elsewhere leaves the "
        "data sent and unacknowledged: that is retransmit-exhausted.",
        now=("`tcpdump` on this host shows nothing of ours: the packets are dropped before it.",),
        folklore=(
            Folklore(
                "Dropping in the output hook simulates a lossy network.",
                "ip_queue_xmit returns an error, snd_nxt does not advance, and TCP runs the window "
                "probe timer. Drop where packets arrive, in the receiver's prerouting hook.",
            ),
        ),
    ),
}
