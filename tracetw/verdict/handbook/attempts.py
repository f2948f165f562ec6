# SPDX-License-Identifier: Apache-2.0
"""Attempts that never became a connection."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.entry import Folklore, OnCall

__all__ = ["ATTEMPTS"]

ATTEMPTS: Mapping[str, OnCall] = {
    "connect-refused": OnCall(
        "connect-refused",
        (
            "The service is not up yet, or crashed, or listens at another address (127.0.0.1 only).",
            "A deploy: between the old listener and the new one.",
            "A firewall that rejects with RST or with ICMP port unreachable.",
        ),
        (
            "At the peer: `ss -ltn`. Is the port there, and on which address?",
            "Deploys: take the host out of the load balancer first, or hand the listener over.",
            "Clients: try again with growing pauses; refused is quick, and a loop of it is a flood.",
        ),
        "proven: a RST in SYN_SENT, or ECONNREFUSED by ICMP; `reset` tells which. A firewall's RST cannot "
        "be told from a host's.",
        (
            Folklore(
                "A full backlog refuses connections.",
                "tcp_conn_request drops the SYN in silence: the client sees connect-timeout, or a late "
                "success. With net.ipv4.tcp_abort_on_overflow 1 a RST answers the handshake's last ACK, when "
                "connect() has succeeded already.",
            ),
        ),
    ),
    "connect-timeout": OnCall(
        "connect-timeout",
        (
            "Wrong address, host down, a security group or firewall that drops.",
            (
                "The listener's accept queue is full: `ss -ltn` at the peer shows Recv-Q above Send-Q, and "
                "ListenOverflows grows."
            ),
            "The answer comes back another way and is dropped there (asymmetric routes, NAT).",
        ),
        (
            "Applications: a limit of their own for connect(), of some seconds, and another address to try.",
            (
                "TCP_SYNCNT for a socket or net.ipv4.tcp_syn_retries (6: 127 s; with "
                "tcp_syn_linear_timeouts, from 6.5 on, 131 s). Lower fails sooner, in short outages too."
            ),
            (
                "Full queue: raise the backlog of listen() and net.core.somaxconn, the smaller one counts; "
                "and find out why nobody accepts."
            ),
        ),
        "proven: ETIMEDOUT in SYN_SENT. Whether the SYN or its answer was lost cannot be seen from here.",
        (
            Folklore(
                "tcp_syn_retries counts the repeated SYNs.",
                "Not since tcp_syn_linear_timeouts (6.5): the first repetitions come a second apart and "
                "there can be more. The ladder was played with tcp_syn_retries 1.",
            ),
        ),
    ),
    "connect-aborted": OnCall(
        "connect-given-up",
        (
            "The application's own limit of time was shorter than the kernel's.",
            "Several addresses were tried at once (happy eyeballs), and this one lost.",
            (
                "no-port: connect() failed with EADDRNOTAVAIL, for all local ports to that destination are "
                "in use or in TIME_WAIT."
            ),
        ),
        (
            "Frequent and to one place: read it as connect-timeout that nobody waited for.",
            (
                "Out of ports: use connections again; widen net.ipv4.ip_local_port_range; "
                "net.ipv4.tcp_tw_reuse 1 (needs timestamps); more destination addresses."
            ),
            (
                "Programs that bind() an address first: IP_BIND_ADDRESS_NO_PORT, or they take a port that no "
                "other destination can use."
            ),
        ),
        "proven from the state SYN_SENT and what this side was doing. The peer's answer, if it was on its "
        "way, is not known.",
        (
            Folklore(
                "A host has about 28000 (or 64000) outgoing connections.",
                "To one destination address and port: what must differ is the whole tuple "
                "(__inet_check_established).",
            ),
        ),
    ),
    "accept-aborted": OnCall(
        "accept-aborted",
        (
            (
                "TCP Fast Open: the application had the connection before the handshake was complete, and "
                "the client went."
            ),
            "The child of a handshake could not be made or came too late (accept queue, memory).",
        ),
        ("If frequent: `ss -ltn` and ListenOverflows; accept faster, or raise the backlog.",),
        "proven: the child was in SYN_RECV. A handshake that is given up usually has no socket at all, only a "
        "request (NEW_SYN_RECV), and no line here: its client's end tells.",
        (
            Folklore(
                "A half-open connection is a socket.",
                "Until its last ACK a handshake is a request (struct tcp_request_sock) of about 300 bytes, "
                "and with SYN cookies nothing at all.",
            ),
        ),
    ),
}
