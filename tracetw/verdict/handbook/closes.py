# SPDX-License-Identifier: Apache-2.0
"""Ends by FIN, ends that the peer brought about by RST, and ends of which nobody can say."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.entry import Folklore, OnCall

__all__ = ["CLOSES"]

CLOSES: Mapping[str, OnCall] = {
    "orderly": OnCall(
        "four-way-close",
        (
            (
                "Most ends of a healthy host. It does not mean that anybody wanted it: with closed_by "
                "process-crash, process-exit or oom-kill the kernel closed for a process that died."
            ),
            (
                "Who closed first carries TIME_WAIT: a server that ends keep-alive connections, a proxy "
                "that limits the requests per connection, a client without a pool."
            ),
            (
                "time_wait skipped: this host has more connections in TIME_WAIT than "
                "net.ipv4.tcp_max_tw_buckets allows."
            ),
        ),
        (
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
            (
                "TIME_WAIT skipped: raise net.ipv4.tcp_max_tw_buckets. Never lower it to get rid of "
                "TIME_WAIT."
            ),
        ),
        "Both FINs and the ACK of ours were seen by the kernel, on the socket or on the mini-socket "
        "that replaces it. A close whose FIN is still awaited has no line yet.",
        (
            Folklore(
                "A close takes four segments.",
                "The peer's FIN travels with its ACK of ours when its application closes before the "
                "ACK is due: tcp_fin enters pingpong mode, so the ACK of a FIN is a delayed one (40 to "
                "200 ms). The form says which it was: `fin-3` or `fin-4`.",
            ),
            Folklore(
                "FIN_WAIT2 -> CLOSE in a trace of socket states is the end of the connection.",
                "As soon as our FIN is acknowledged, tcp_time_wait replaces the socket by a "
                "mini-socket. The peer's FIN, TIME_WAIT, late data or a timeout come after that, and no "
                "socket tracepoint tells of them.",
            ),
        ),
    ),
    "peer-reset": OnCall(
        "sigkill-with-unread-data",
        (
            (
                "The peer's application gave up: its limits of time or size, a crash with unread data, a "
                "deploy that closed its listener."
            ),
            "A pooled connection was used at the moment in which the server closed it as idle.",
            (
                "A proxy, load balancer or firewall reset the connection in the peer's name. Its RST has "
                "often another TTL than the peer's other packets (`tcpdump -v`)."
            ),
        ),
        (
            (
                "Trace at the peer: its line of the same second says abort-unread, abort-linger, "
                "abort-late-data, abort-listener or abort-memory, and names the process."
            ),
            (
                "Pools: an idle limit shorter than the server's, say two thirds of it. Costs a few more "
                "handshakes."
            ),
            "Repeat idempotent requests on a new connection, once.",
        ),
        "proven where the RST's ACK flag was seen; inferred from its timestamp, from the peer's FIN "
        "before it, or because nothing of ours waited for an answer. A middlebox that copies both cannot be "
        "told from the peer. Flags and timestamp unseen while something was unanswered: undetermined.",
        (
            Folklore(
                "Timestamps (PAWS) protect against old RSTs.",
                "Not a connection: tcp_validate_incoming lets a RST pass that fails PAWS. What protects "
                "is that its number must be exactly the next one expected.",
            ),
            Folklore(
                "Any RST inside the window ends a connection.",
                "Only one at the next number expected (or at the right edge of a SACK). The others are "
                "answered with a challenge ACK: RFC 5961, tcp_validate_incoming.",
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
        (
            (
                "The peer rebooted, its container was replaced, or an address moved to a standby that does "
                "not know the connection."
            ),
            (
                "A load balancer or NAT forgot the idle connection; the next segment went to another host "
                "or was answered by the box itself."
            ),
            (
                "The peer gave the connection up in silence earlier: fin-wait2-timeout, fin-exhausted, "
                "retransmit-exhausted or an overflow of TIME_WAIT buckets there. Then this end is only the echo."
            ),
            "A client pool sends a request on a connection that the server had closed long ago.",
        ),
        (
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
        "The sender of a RST without ACK holds no connection: proven. Without a timestamp although "
        "they were negotiated: inferred. Neither seen: undetermined (`rst-flags`).",
        (
            Folklore(
                "A RST means that the port is closed.",
                "With the service back, its listener answers: tcp_v4_send_reset for a segment that met "
                "a socket in LISTEN. A FIN_WAIT2 mini-socket answers data with RST as well, one in "
                "TIME_WAIT with an ACK.",
            ),
            Folklore(
                "A reboot of the peer ends the connection.",
                "Nothing arrives here until something is sent. Without keepalive an idle connection "
                "stays ESTABLISHED for ever.",
            ),
        ),
    ),
    "stale-syn-reset": OnCall(
        "rebooted-peer-reconnects",
        (
            "A client with a fixed local port restarted: NFS, database replication, BGP, appliances.",
            "A NAT gave the port of a connection that it had forgotten to a new one.",
        ),
        (
            (
                "Keepalives at this end (as for peer-lost-state) find the dead connection before its "
                "successor does."
            ),
            "Clients: do not bind a local port without need.",
        ),
        "A SYN met the live connection, and a RST that came from no connection followed. "
        "Which packet the RST answers is not recorded.",
        (
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
        (
            "The connection began before the trace, or records were lost: the summary counts them.",
            "This kernel does not show what would be needed: `tracetw doctor` says what is lost.",
            (
                "The TIME_WAIT buckets are used up, so that the socket was dropped before the peer's FIN "
                "(as below): the peer gets a RST for it."
            ),
            "TCP_REPAIR (checkpoint and restore) took the socket away without a packet.",
        ),
        (
            "Overflow: raise net.ipv4.tcp_max_tw_buckets, or make fewer connections.",
            "Lost records: filter in the kernel (`--port`, `--addr`, `--netns`).",
        ),
        "Nothing is concluded. The evidence lists what was seen, and `why` what was missing.",
        (
            Folklore(
                "When the buckets are used up, the connection is just closed a bit sooner.",
                "inet_twsk_alloc fails already for FIN_WAIT2: the peer's FIN meets no socket and is "
                "answered with RST. A clean close is ECONNRESET at the peer.",
            ),
        ),
    ),
    "namespace-gone": OnCall(
        "namespace-gone",
        (
            "A container or pod was removed while its connections were still closing.",
            "Frequent at deploys with many short connections; harmless for this side.",
        ),
        (
            (
                "Nothing here. If peers complain, stop the application first and give it some seconds before "
                "the container goes: what is closed by then ends with FIN."
            ),
        ),
        "The namespace was gone when the socket, or the mini-socket, was looked at; inferred where only "
        "the silence of the close tells.",
        (
            Folklore(
                "Removing a container closes its connections.",
                "The death of its processes does, by FIN or RST. What is still closing after that "
                "(orphans, FIN_WAIT2, TIME_WAIT) is dropped without a packet: inet_twsk_purge, and "
                "check_net in tcp_out_of_resources.",
            ),
        ),
    ),
}
