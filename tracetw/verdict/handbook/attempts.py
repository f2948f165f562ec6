# SPDX-License-Identifier: Apache-2.0
"""Attempts that never became a connection."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.entry import Folklore, OnCall, Question

ATTEMPTS: Mapping[str, OnCall] = {
    "connect-refused": OnCall(
        "connect-refused",
        causes=(
            Question(
                "Does `ss -ltn` at the peer lack a listener for that address and port?",
                "The service is not up yet, crashed, or listens at another address (127.0.0.1 only).",
            ),
            Question(
                "Does `why` name ICMP?",
                "A firewall, or the peer itself, answered with ICMP port unreachable.",
            ),
            Question(
                "Do the refusals come only during deploys?",
                "They fall between the old listener and the new one: take the host out of the load "
                "balancer first, or hand the listener over.",
                "A firewall rejects with RST. Compare the TTL of the RST with that of the peer's other "
                "packets (`tcpdump -v`), and read the rules on the way.",
            ),
        ),
        settings=(
            (
                "None in the kernel. Clients: try again with growing pauses; a refusal comes at once, and a "
                "loop of attempts is a flood."
            ),
        ),
        sure="proven: a RST in SYN_SENT, or ECONNREFUSED by ICMP; `reset` and closed_by tell which. Nothing "
        "here tells a firewall's RST or ICMP error from a host's.",
        folklore=(
            Folklore(
                "A full backlog refuses connections.",
                "tcp_conn_request drops the SYN in silence: the client gets connect-timeout, or a late "
                "success. With net.ipv4.tcp_abort_on_overflow 1 a RST answers the handshake's last ACK, when "
                "connect() has succeeded already.",
            ),
        ),
    ),
    "connect-timeout": OnCall(
        "connect-timeout",
        causes=(
            Question(
                "Does `ss -ltn` at the peer show Recv-Q above Send-Q, or does ListenOverflows grow there "
                "(`nstat -az`)?",
                "The listener's accept queue is full. Find out why nobody accepts, and raise the backlog.",
            ),
            Question(
                "Does `tcpdump` at the peer show the SYN?",
                "The SYN ACK goes back another way and is dropped there (asymmetric routes, NAT), or the "
                "peer's own firewall drops the SYN behind tcpdump.",
                "The SYN does not arrive: wrong address, host down, a security group or firewall that "
                "drops it.",
            ),
        ),
        settings=(
            "Applications: a limit of their own for connect(), of some seconds, and another address to try.",
            (
                "TCP_SYNCNT for a socket or net.ipv4.tcp_syn_retries (6: 127 s; with "
                "tcp_syn_linear_timeouts, from 6.5 on, 131 s). Lower fails sooner, in short outages too."
            ),
            "Full queue: raise the backlog of listen() and net.core.somaxconn; the smaller one counts.",
        ),
        sure="proven: ETIMEDOUT in SYN_SENT. This side cannot tell whether the SYN or its answer was lost. Where "
        "`why` says that segments were refused, somebody answered, but not with an acceptable SYN+ACK: an ACK out of "
        "TIME_WAIT, a missing TCP-MD5 signature.",
        folklore=(
            Folklore(
                "tcp_syn_retries counts the repeated SYNs.",
                "Not since tcp_syn_linear_timeouts (6.5): the first repetitions come a second apart and "
                "there can be more. The ladder was played with tcp_syn_retries 1.",
            ),
        ),
    ),
    "connect-aborted": OnCall(
        "connect-given-up",
        causes=(
            Question(
                "Does closed_by say admin?",
                "Somebody destroyed the socket while it was connecting: go on with abort-admin.",
            ),
            Question(
                "Did a connection to another address of the same name succeed at that time?",
                "The client tried several addresses at once (happy eyeballs), and this one lost. Nothing to "
                "do.",
                "The application's own limit of time was shorter than the kernel's. If it is frequent and "
                "to one place, go on with connect-timeout: nobody waited for the end of it.",
            ),
        ),
        settings=("None: the limit is the application's own.",),
        sure="proven from the state SYN_SENT and what this side was doing. The record does not say whether "
        "the peer's answer was on its way.",
        folklore=(
            Folklore(
                "close() during connect() sends RST.",
                "tcp_disconnect in SYN_SENT sends nothing; a SYN+ACK that comes later is answered with RST, by "
                "no socket.",
            ),
        ),
    ),
    "connect-failed": OnCall(
        "time-wait-reuse-refused",
        causes=(
            Question(
                "Does `error` say EADDRNOTAVAIL (`evidence` has no-port)?",
                "All local ports to that destination are in use or in TIME_WAIT. See Settings.",
            ),
            Question(
                "Does the program bind() a port itself?",
                "That port is in use for the same peer, or in TIME_WAIT (EADDRNOTAVAIL as well).",
                "A routing rule matches the ports and rejects (`ip rule`, `ip route get ADDRESS ipproto tcp dport "
                "PORT`): the application got EACCES, EHOSTUNREACH or EINVAL.",
            ),
        ),
        settings=(
            (
                "Out of ports: keep connections and use them again; widen net.ipv4.ip_local_port_range; "
                "net.ipv4.tcp_tw_reuse 1 (needs timestamps); more destination addresses."
            ),
            (
                "Programs that bind() an address first: IP_BIND_ADDRESS_NO_PORT, or they take a port that no "
                "other destination can use."
            ),
        ),
        sure="proven: the socket went from SYN_SENT to CLOSE inside connect(), without a sequence number for a "
        "SYN. Without a port the error is EADDRNOTAVAIL (inet_hash_connect); with one the record does not have it, "
        "and `error` is null.",
        folklore=(
            Folklore(
                "A host has about 28000 (or 64000) outgoing connections.",
                "To one destination address and port: what must differ is the whole tuple "
                "(__inet_check_established).",
            ),
        ),
    ),
    "accept-aborted": OnCall(
        "accept-aborted",
        causes=(
            Question(
                "Does closed_by say peer or kernel-timer?",
                "The client went, by RST or in silence, before the handshake was complete. With TCP Fast Open "
                "the application had the connection already. Nothing to do.",
            ),
            Question(
                "Does closed_by say admin?",
                "Somebody destroyed the socket: go on with abort-admin.",
                "The kernel could not make the child of a handshake, or made it too late (accept queue, "
                "memory). If it is frequent, look at `ss -ltn` and ListenOverflows: accept faster, or raise "
                "the backlog.",
            ),
        ),
        settings=(
            "Full queue: raise the backlog of listen() and net.core.somaxconn; the smaller one counts.",
        ),
        sure="proven: the child was in SYN_RECV. A handshake that fails usually has no socket at all, only a "
        "request (NEW_SYN_RECV), and then no line here: its client's end has one.",
        folklore=(
            Folklore(
                "A half-open connection is a socket.",
                "Until its last ACK a handshake is a request (struct tcp_request_sock) of about 300 bytes, "
                "and with SYN cookies nothing at all.",
            ),
        ),
    ),
}
