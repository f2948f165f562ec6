# SPDX-License-Identifier: Apache-2.0
"""Ends by FIN, ends that the peer brought about by RST, and ends without a known cause."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.entry import Folklore, OnCall, Question

CLOSES: Mapping[str, OnCall] = {
    "orderly": OnCall(
        "four-way-close",
        causes=(
            Question(
                "Does closed_by say process-exit, process-crash or oom-kill?",
                "The process ended and the kernel closed for it: `exit` has the code or the signal. For TCP "
                "that is a clean close; look into the death, not into the connection.",
            ),
            Question(
                "Does time_wait say skipped?",
                "The kernel refused the TIME_WAIT socket: this host has as many timewait sockets as "
                "net.ipv4.tcp_max_tw_buckets allows. See [overflow](overflow.md).",
            ),
            Question(
                "Does first_close say local, and does this host run out of ports or buckets?",
                "This side closes first and so carries TIME_WAIT: a server that ends keep-alive "
                "connections, a proxy that limits the requests per connection, a client without a pool. "
                "See Settings.",
                "Nothing to do: most ends of a healthy host look like this.",
            ),
        ),
        settings=(
            (
                "Client out of ports: keep connections open and use them again; that cures it. Else widen "
                "net.ipv4.ip_local_port_range, as to `1024 65535` (reserve the ports of your services in "
                "net.ipv4.ip_local_reserved_ports), or set net.ipv4.tcp_tw_reuse to 1 (needs timestamps at "
                "both ends)."
            ),
            (
                "TIME_WAIT at the server: let its idle timeout be longer than the client's, so that the "
                "client closes first. Costs idle connections at the server."
            ),
            "TIME_WAIT skipped: raise net.ipv4.tcp_max_tw_buckets. Never lower it to get rid of TIME_WAIT.",
        ),
        sure="The kernel saw both FINs and the ACK of ours, on the socket or on the timewait socket that "
        "replaces it. While a FIN is still due, the close has no line yet.",
        folklore=(
            Folklore(
                "A close takes four segments.",
                "The peer's FIN travels with its ACK of ours when its application closes before the "
                "ACK is due: tcp_fin enters pingpong mode, so the ACK of a FIN is a delayed one (40 to "
                "200 ms). `form` says which it was: `fin-3` or `fin-4`.",
            ),
            Folklore(
                "FIN_WAIT2 -> CLOSE in a trace of socket states is the end of the connection.",
                "As soon as our FIN is acknowledged, tcp_time_wait replaces the socket by a timewait "
                "socket. The peer's FIN, TIME_WAIT, late data or a timeout come after that, and no "
                "socket tracepoint shows them.",
            ),
        ),
    ),
    "peer-reset": OnCall(
        "sigkill-with-unread-data",
        causes=(
            Question(
                "Can you trace at the peer?",
                "Its line of the same second names the process, and its verdict says abort-unread, "
                "abort-linger, abort-late-data, abort-listener or abort-memory: follow that page.",
            ),
            Question(
                "Does the RST have another TTL than the peer's other packets (`tcpdump -v`)?",
                "A proxy, load balancer or firewall reset the connection in the peer's name.",
            ),
            Question(
                "Had the connection been idle for about as long as the server's idle timeout?",
                "A pooled connection was used at the moment in which the server closed it as idle. Shorten "
                "the pool's idle limit.",
                "The peer's application gave up: its limits of time or size, a crash with unread data, a "
                "deploy that closed its listener. Look into its log.",
            ),
        ),
        settings=(
            (
                "Pools: an idle limit shorter than the server's, say two thirds of it. Costs a few more "
                "handshakes."
            ),
            "Clients: repeat idempotent requests on a new connection, once.",
        ),
        sure="inferred, from the RST's ACK flag, from its timestamp, from the peer's FIN before it, or because "
        "nothing of ours waited for an answer. A proxy or firewall can send the same RST: only the peer's own "
        "record says that it was the peer. Flags and timestamp unseen while something was unanswered: undetermined.",
        folklore=(
            Folklore(
                "Timestamps (PAWS) protect against old RSTs.",
                "Not a connection: tcp_validate_incoming lets a RST pass that fails PAWS. What protects "
                "is that its number must be exactly the next one expected.",
            ),
            Folklore(
                "Any RST inside the window ends a connection.",
                "Only one at the next number expected (or at the right edge of a SACK). The kernel answers "
                "all others with a challenge ACK: RFC 5961, tcp_validate_incoming.",
            ),
            Folklore(
                "EstabResets counts the resets received.",
                "tcp_set_state counts every change from ESTABLISHED or CLOSE_WAIT to CLOSE, whatever "
                "for: sent RSTs and timeouts too. RSTs received have no counter.",
            ),
        ),
    ),
    "peer-lost-state": OnCall(
        "data-to-rebooted-peer",
        causes=(
            Question(
                "Did the peer reboot, its container restart or its address move before the line?",
                "The peer's kernel, or the standby that has the address now, does not know the connection. "
                "Keepalives find that out sooner.",
            ),
            Question(
                "Does `ss -tn` at the peer still show the connection, or has the RST another TTL than the peer's other "
                "packets (`tcpdump -v`)?",
                "The peer never got the segment: a router, firewall or NAT on the way answered in its name, since it "
                "forgot the connection or takes the segment for invalid.",
            ),
            Question(
                "Can you trace at the peer, and did an earlier line there, with the same ports, say "
                "fin-wait2-timeout, fin-exhausted or retransmit-exhausted?",
                "The peer gave the connection up in silence; this end is only the echo. Follow the page of "
                "that verdict. (Where TCPTimeWaitOverflow grows there: [overflow](overflow.md).)",
            ),
            Question(
                "Does a load balancer or NAT stand between, with an idle timeout shorter than the "
                "connection was idle?",
                "It forgot the connection; the next segment went to another host, or the box itself "
                "answered. Start keepalives below its timeout.",
                "A client sent a request on a pooled connection that the server had closed long ago. Let "
                "the pool discard what was idle for longer than the server's limit.",
            ),
        ),
        settings=(
            (
                "SO_KEEPALIVE with TCP_KEEPIDLE below the shortest idle timeout on the way, as 60 s, "
                "TCP_KEEPINTVL 10, TCP_KEEPCNT 6. Costs one small packet a minute for each connection."
            ),
            "Pools: discard what was idle for longer than that; repeat idempotent requests.",
            (
                "Failover: let the old holder of the address reset its connections, or accept that clients "
                "find out with their next segment."
            ),
        ),
        sure="inferred, from a RST without ACK, or without a timestamp although they were negotiated: an answer for "
        "which no connection is needed. Who gave it, the peer or a box on the way, is not in the segment. Neither "
        "seen: undetermined (`rst-flags`).",
        folklore=(
            Folklore(
                "A RST means that the port is closed.",
                "With the service back, its listener answers: tcp_v4_send_reset for a segment that met "
                "a socket in LISTEN. A timewait socket in FIN_WAIT2 answers data with RST as well, one in "
                "TIME_WAIT with an ACK.",
            ),
            Folklore(
                "A reboot of the peer ends the connection.",
                "Nothing arrives here until something is sent. Without SO_KEEPALIVE an idle connection "
                "stays ESTABLISHED for ever.",
            ),
        ),
    ),
    "stale-syn-reset": OnCall(
        "rebooted-peer-reconnects",
        causes=(
            Question(
                "Does the client bind a fixed local port (the next connection comes from the same one)?",
                "The client restarted without closing: NFS, database replication, BGP, appliances. Let it "
                "take any port, unless the protocol needs that one.",
                "A NAT gave the port of a connection that it had forgotten to a new one. Keepalives below "
                "its idle timeout prevent that.",
            ),
        ),
        settings=(
            (
                "Keepalives at this end (as for peer-lost-state) find the dead connection before its "
                "successor does."
            ),
        ),
        sure="inferred: a SYN (not a repeated SYN+ACK) met the live connection, and a RST followed within "
        "seconds, with no other segment between them. The record does not say which packet the RST answers, nor who "
        "sent it.",
        folklore=(
            Folklore(
                "A SYN on an established connection resets it.",
                "tcp_validate_incoming answers with a challenge ACK, whatever the SYN's number. "
                "It is the peer's RST to that ACK that ends the connection.",
            ),
            Folklore(
                "The restarted client must wait a second for its SYN to be repeated.",
                "tcp_rcv_synsent_state_process sends the RST and arms its timer with TCP_TIMEOUT_MIN: "
                "10 to 20 ms later the new connection is there.",
            ),
        ),
    ),
    "undetermined": OnCall(
        "time-wait-overflow-fin-wait2",
        causes=(
            Question(
                "Does `confidence` say weakened, or does the summary count lost records?",
                "Records around this end were lost. Filter in the kernel (`--port`, `--addr`, `--netns`), so "
                "that fewer compete.",
            ),
            Question(
                "Is duration_ms null?",
                "The connection began before the trace, so its history is unknown. Start the trace earlier, "
                "or wait for one that begins under it.",
            ),
            Question(
                "Does `tracetw doctor` say that this kernel cannot show the fact?",
                "Trace the other end of the connection, or on a newer kernel.",
                "Find the missing fact that `why` names in the table below.",
            ),
        ),
        settings=(
            "TIME_WAIT buckets used up: raise net.ipv4.tcp_max_tw_buckets, or make fewer connections.",
        ),
        sure="tracetw concludes nothing. `evidence` lists what was seen, `why` names what was missing.",
        folklore=(
            Folklore(
                "When the buckets are used up, the kernel just closes the connection a bit sooner.",
                "inet_twsk_alloc fails already for FIN_WAIT2: the peer's FIN meets no socket and the "
                "kernel answers it with RST. A clean close is ECONNRESET at the peer.",
            ),
        ),
    ),
    "namespace-gone": OnCall(
        "namespace-gone",
        causes=(
            Question(
                "Did a container or pod stop at that time?",
                "It was removed while its connections were still closing, as at every deploy with many "
                "short connections. Nothing to do for this side.",
                "Something else removed the namespace: look for `ip netns del` and for what unshares "
                "network namespaces on this host.",
            ),
        ),
        settings=(
            (
                "None. If peers complain, stop the application first and give it some seconds before "
                "the container goes: what is closed by then ends with FIN."
            ),
        ),
        sure="The namespace was gone when tracetw looked at the socket or the timewait socket; inferred "
        "where only the silence of the close shows it.",
        folklore=(
            Folklore(
                "Removing a container closes its connections.",
                "The death of its processes does, by FIN or RST. The kernel drops what is still closing "
                "after that (orphans, FIN_WAIT2, TIME_WAIT) without a packet: inet_twsk_purge, and "
                "check_net in tcp_out_of_resources.",
            ),
        ),
    ),
}
