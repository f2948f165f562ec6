# SPDX-License-Identifier: Apache-2.0
"""Segments that the kernel refused: the ``drop`` events."""

from __future__ import annotations

from tracetw.verdict.handbook.entry import EventEntry, Folklore, OnCall, Question

_SURE = "The kernel's drop reason says so (5.18 and newer); from 6.11 on it also gives the socket, and so the owner."

DROP_EVENTS = (
    EventEntry(
        "paws",
        "The kernel dropped a segment of a live connection: its timestamp was older than the last one seen.",
        "tcp_validate_incoming (PAWSEstab)",
        "Nothing to do for a few.",
        OnCall(
            "old-timestamp",
            causes=(
                Question(
                    "Are there many, and from one network?",
                    "Something on the way holds packets back, repeats them, or rewrites their timestamps: "
                    "capture at both ends and compare.",
                    "Packets overtook each other.",
                ),
            ),
            settings=(
                "None. net.ipv4.tcp_timestamps 0 would take the protection away with the drops.",
            ),
            sure=_SURE,
            folklore=(
                Folklore(
                    "PAWS guards against everything old.",
                    "Not against RST: tcp_validate_incoming accepts one that fails PAWS.",
                ),
            ),
        ),
    ),
    EventEntry(
        "paws-timewait",
        "A segment with an older timestamp met TIME_WAIT: the kernel dropped it and sent an ACK.",
        "tcp_timewait_state_process (PAWSEstab; from 6.17 on PAWSTimewait)",
        "Nothing to do for data; for a SYN look at the NAT in front of the clients.",
        OnCall(
            "old-timestamp-time-wait",
            causes=(
                Question(
                    "Was the segment a SYN (`tcpdump`)?",
                    "A client took over the port of another one behind the same NAT. It gets an ACK in "
                    "place of SYN ACK and answers with RST; the listener accepts its next SYN.",
                    "An old segment of the connection itself arrived late.",
                ),
            ),
            settings=(
                "At the NAT: use a port again only after 60 s, or spread over more addresses.",
            ),
            sure=_SURE,
            folklore=(
                Folklore(
                    "Linux drops such SYNs in silence.",
                    "It did, with tcp_tw_recycle. Now tcp_timewait_state_process answers with an ACK (at most "
                    "one every 500 ms).",
                ),
            ),
        ),
    ),
    EventEntry(
        "challenge-ack",
        "The kernel answered a segment that did not fit a live connection with an ACK: a RST in the window but not "
        "at its beginning, a SYN or a repeated SYN+ACK, or an ACK of what was never sent.",
        "tcp_validate_incoming, tcp_send_challenge_ack (TCPChallengeACK, TCPSYNChallenge; RFC 5961)",
        "Look whether the connection ends next.",
        OnCall(
            "stray-reset-challenged",
            causes=(
                Question(
                    "Does the same connection end with peer-lost-state or stale-syn-reset next?",
                    "The peer has lost the connection and answered the challenge with a RST that fits: "
                    "follow that page.",
                ),
                Question(
                    "Do many connections get one at the same time?",
                    "Somebody sends RSTs blindly. The challenge is the protection: the connections live.",
                    "A stray segment of an earlier connection on the same ports.",
                ),
            ),
            settings=(
                (
                    "net.ipv4.tcp_invalid_ratelimit (500 ms): the shortest time between two challenges to one "
                    "connection. The limit for all, net.ipv4.tcp_challenge_ack_limit, is off in newer kernels."
                ),
            ),
            sure=_SURE
            + " Before, where function probes work, tcp_send_challenge_ack gives the socket.",
        ),
    ),
    EventEntry(
        "out-of-window-reset",
        "The kernel dropped a RST outside of the window without an answer.",
        "tcp_validate_incoming, tcp_sequence",
        "Nothing to do: the connection lives on.",
        OnCall(
            "stray-reset-out-of-window",
            causes=(
                Question(
                    "Did an earlier connection use the same addresses and ports?",
                    "The RST is a late answer to that one.",
                    "Somebody tries to reset the connection blindly. The sequence check holds.",
                ),
            ),
            settings=("None.",),
            sure=_SURE,
        ),
    ),
    EventEntry(
        "signature-failure",
        "The kernel refused a segment whose TCP-MD5 or TCP-AO signature was missing, unexpected or wrong.",
        "tcp_inbound_hash (TCPMD5NotFound, TCPMD5Unexpected, TCPMD5Failure; TCPAOBad, TCPAOKeyNotFound, TCPAORequired; "
        "RFC 2385, RFC 5925)",
        "Compare the keys of both ends.",
        OnCall(
            "md5-unsigned-resets",
            causes=(
                Question(
                    "Does `reason` say TCP_MD5NOTFOUND or TCP_AONOTFOUND?",
                    "The peer, or a box on the way that sends RSTs in its name, does not sign: it has no key for us, or "
                    "has lost the connection with its key.",
                ),
                Question(
                    "Does it say TCP_MD5UNEXPECTED, TCP_AOUNEXPECTED or TCP_AOKEYNOTFOUND?",
                    "This side has no such key for that address: it was not configured yet, was taken away, or was rolled over at one "
                    "end only.",
                    "The keys differ, or a NAT changed the addresses, which are signed as well.",
                ),
            ),
            settings=(
                "TCP_MD5SIG of the socket or its listener; in routing daemons the password of the neighbour.",
            ),
            sure=_SURE,
            folklore=(
                Folklore(
                    "A RST always ends the connection of a rebooted router.",
                    "tcp_inbound_hash wants it signed, and who has lost the key cannot sign it. The end goes on "
                    "until its own limit (scenario `md5-unsigned-resets`).",
                ),
            ),
        ),
    ),
    EventEntry(
        "accept-queue-full",
        "A listener's accept queue was full: the kernel dropped a SYN, or the ACK that completed a handshake.",
        "tcp_conn_request, tcp_v4_syn_recv_sock, tcp_check_req (ListenOverflows, ListenDrops)",
        "Find out why nobody accepts; queued and backlog are in the event.",
        OnCall(
            "accept-queue-full-then-reset",
            causes=(
                Question(
                    "Is `backlog` small (5, 10, 128)?",
                    "The program asks for too little in listen(), or net.core.somaxconn caps it.",
                    "The program does not accept fast enough: its thread is blocked, or it is stopped.",
                ),
            ),
            settings=(
                "The backlog of listen() and net.core.somaxconn; the smaller one counts, and one more fits.",
            ),
            sure="Of the ACK only kernels with the drop reason TCP_LISTEN_OVERFLOW (6.15 and newer) tell it, and none if it is "
            "the ACK of a SYN cookie. A SYN is dropped without a tracepoint (tcp_conn_request consumes it): its event, without a "
            "reason, takes function probes, and there is none where SYN cookies are off and there are as many connections in "
            "SYN_RECV as the backlog: either queue may be the reason. All are counted as ListenOverflows.",
            folklore=(
                Folklore(
                    "The client sees that the queue is full.",
                    "Its connect() has succeeded. The kernel repeats the SYN+ACK, and after tcp_synack_retries it "
                    "forgets: the client's data is then answered with a bare RST.",
                ),
            ),
        ),
    ),
    EventEntry(
        "request-queue-full",
        "A listener had too many connections in SYN_RECV and no SYN cookies: the kernel dropped a SYN.",
        "tcp_conn_request, tcp_syn_flood_action (TCPReqQFullDrop, ListenDrops)",
        "Turn SYN cookies on (net.ipv4.tcp_syncookies 1), or give the listener a larger backlog.",
        OnCall(
            "request-queue-full",
            causes=(
                Question(
                    "Do the SYNs come from many addresses that never answer the SYN+ACK?",
                    "A SYN flood, or answers that do not arrive: look at the way back.",
                    "The backlog is too small for the rate of connections times the round trip time.",
                ),
            ),
            settings=(
                "net.ipv4.tcp_syncookies.",
                "The backlog of listen() and net.core.somaxconn; the smaller one limits connections in SYN_RECV, too.",
                (
                    "net.ipv4.tcp_max_syn_backlog, if SYN cookies stay off: from three quarters of it on, and however far "
                    "beyond, only peers that are known already get in."
                ),
            ),
            sure="It takes function probes: the SYN is consumed without a tracepoint. The kernel counts it. There is no event "
            "where the accept queue is full, too: either queue may be the reason.",
            folklore=(
                Folklore(
                    "net.ipv4.tcp_max_syn_backlog is the limit.",
                    "Of this event the limit is the backlog of the listener (inet_csk_reqsk_queue_is_full). Without SYN cookies "
                    "there is a second one: with more than three quarters of tcp_max_syn_backlog in SYN_RECV tcp_conn_request "
                    "drops the SYN of each peer that is not known (tcp_peer_is_proven). No event tells it, only ListenDrops, "
                    "and a larger backlog does not help.",
                ),
            ),
        ),
    ),
    EventEntry(
        "syn-cookie",
        "The kernel answered a SYN with a cookie and kept nothing of it.",
        "tcp_conn_request, cookie_v4_init_sequence, cookie_v6_init_sequence (SyncookiesSent)",
        "Look at `cause`. Nothing to do in a SYN flood: it is the answer to one.",
        OnCall(
            "syn-cookie",
            causes=(
                Question(
                    "Is `cause` `sysctl`?",
                    "net.ipv4.tcp_syncookies was 2: every SYN is answered with a cookie. The queue says nothing.",
                ),
                Question(
                    "Do as many connections begin at the listener as there are such events?",
                    "The clients are real, and the backlog is too small for them: `queued` requests were waiting for the "
                    "ACK of their handshake when the SYN came.",
                    "Nobody completes the handshakes: a SYN flood, or SYN+ACKs that do not arrive.",
                ),
            ),
            settings=(
                "The backlog of listen() and net.core.somaxconn.",
                "net.ipv4.tcp_syncookies.",
            ),
            sure="It takes function probes: no socket and no request is left. The kernel counts it.",
            folklore=(
                Folklore(
                    "SYN cookies cost nothing.",
                    "Without timestamps tcp_conn_request clears the options: the connection has neither window scaling nor "
                    "SACK. If the ACK of the handshake is lost nobody repeats the SYN+ACK: the client is connected, the "
                    "listener has nothing, until the client sends data. `tracetw lab run syn-cookie-ack-lost` shows both.",
                ),
            ),
        ),
    ),
    EventEntry(
        "embryonic-reset",
        "A segment ended a connection in SYN_RECV: a RST or a SYN, or with net.ipv4.tcp_abort_on_overflow the ACK of the handshake, "
        "of which the kernel could make no socket.",
        "tcp_check_req (EmbryonicRsts)",
        "Nothing, if it is a port scan or a health check that resets at once.",
        OnCall(
            "client-gone-before-syn-ack",
            causes=(
                Question(
                    "Is `cause` `ack`?",
                    "tcp_abort_on_overflow was set, and the kernel answered the ACK with RST. With `queued` above `backlog` the accept "
                    "queue was full; else it was until just then, or memory or a route was missing (tcp_v4_syn_recv_sock).",
                ),
                Question(
                    "Is it `rst`, and `queued` above `backlog`?",
                    "The client may have been connected, waited in vain, and reset: with a full accept queue the ACK of the "
                    "handshake is ignored, and nothing is answered.",
                    "A RST or a SYN came: a scan, a health check, or a client that had given up when the SYN+ACK came.",
                ),
            ),
            settings=("net.ipv4.tcp_abort_on_overflow.",),
            sure="It takes function probes: a connection in SYN_RECV is a request, no socket, and ends without a "
            "tracepoint. One that ends by its timer (tcp_synack_retries) is no event, and has no counter.",
        ),
    ),
)
