# SPDX-License-Identifier: Apache-2.0
"""What many connections share: an address behind NAT, buckets, and the duty to wait."""

from __future__ import annotations

from tracetw.lab.book.experiment import Citation, Experiment, Run, Statement
from tracetw.lab.book.measure import (
    about,
    count,
    counter,
    events,
    field,
    gap,
    lines,
)
from tracetw.lab.scenarios.timewait import BUCKETS, MANY

RECYCLE = Experiment(
    name="tw-recycle-and-nat",
    question="What did tcp_tw_recycle break behind NAT?",
    begin="""\
Old articles recommend `tcp_tw_recycle`. It no longer exists: Linux 4.12 removed it, and no kernel since
then can show it. What can be shown is why it had to go.

With `tcp_tw_recycle` the server remembered, for each *address*, the last timestamp from there. It dropped
a SYN with an older one for a minute, without an answer. Since then Linux remembers timestamps only for
each *connection*, in its TIME_WAIT.

A router with NAT makes one address of many clients. Each client has a timestamp clock of its own.
""",
    guess="Two clients behind one address connect in turn. How often do the timestamps that the server sees from that address go back?",
    watch=(
        "the remarks of the ladder: older or newer;",
        "whether each SYN is answered at once;",
        "in the second run, the SYN that is answered with an ACK.",
    ),
    runs=(
        Run(
            "nat-older-timestamps",
            "Two clients, each with a port of its own",
            "Client 1, client 2, and client 1 again connect to B through a router. B closes first each time. One of the two "
            "changes must go back in time.",
            (
                Statement("SYN that B has received: {}.", count("A>B SYN"), 3),
                Statement("SYN that B has accepted: {}.", count("B>A SYN ACK"), 3),
                Statement("PAWS has refused nothing: PAWSEstab {}.", counter("b", "PAWSEstab"), 0),
            ),
        ),
        Run(
            "nat-two-clients",
            "Two clients that get the same port",
            "The router forgets each connection at once and gives every client port 40000. Now both are the same connection for B, which has it in "
            "TIME_WAIT.",
            (
                Statement("SYN that B has received: {}.", count("A>B SYN"), 4),
                Statement("SYN that B has accepted: {}.", count("B>A SYN ACK"), 3),
                Statement(
                    "The client answers B's ACK with a RST, which ends TIME_WAIT: event killed-by-reset {}.",
                    events("b", "killed-by-reset"),
                    1,
                ),
                Statement(
                    "Its SYN comes again {} after that RST, and B accepts it.",
                    gap("A>B RST", "A>B SYN"),
                    about(0, 500),
                ),
            ),
        ),
    ),
    machines=("nat-two-machines", "router-forgets"),
    answer="""\
In the first run a SYN comes with an older timestamp than the last one from its address. A server with
`tcp_tw_recycle` dropped exactly this SYN: no answer, no log, only the counter PAWSPassive. The client
repeated its SYN and got in when the minute was over, or never. It hit some clients behind a router and
spared others, which made it so hard to find. Today all three are accepted.

The second run shows what remains: the same address *and* the same port, and the server in TIME_WAIT for it.
B cannot know that it is another client, so the older timestamp fails PAWS. But B answers, with an ACK.
The client, which has no such connection, sends RST; TIME_WAIT ends; the next SYN is accepted. That costs
milliseconds. It is rare: a router keeps a port for a while after its connection.

Linux 4.10 began to give the timestamps of every connection a random offset. From then on even a single
client without NAT went back in time from one connection to the next, and `tcp_tw_recycle` broke for
everybody. Two releases later it was removed.

`tcp_tw_recycle` also shortened TIME_WAIT to a few round-trip times. No kernel does that any more: [60
s](#time-wait).
""",
    sources=(
        Citation(
            "Linux commit 4396e46187ca (in v4.12)",
            "tcp_tw_recycle is removed, and the counter PAWSPassive",
        ),
        Citation(
            "tcp_peer_is_proven() and tcp_conn_request() before v4.12",
            "the memory for each address, and the dropped SYN",
        ),
        Citation("Linux commit 95a22caee396 (in v4.10)", "random offsets of timestamps"),
        Citation(
            "tcp_timewait_state_process() in net/ipv4/tcp_minisocks.c",
            "PAWS in TIME_WAIT is answered with an ACK",
        ),
        Citation("RFC 7323, section 5.8", "why a cache of timestamps for each host is difficult"),
    ),
)

BUCKETS_FULL = Experiment(
    name="buckets-overflow",
    question="What happens when the TIME_WAIT buckets overflow?",
    begin="""\
`tcp_max_tw_buckets` limits how many timewait sockets a network namespace may have. Beyond that it counts
TCPTimeWaitOverflow; older kernels logged *time wait bucket table overflow*, too. People see it and ask
whether they have lost connections.
""",
    guess=f"A server has {BUCKETS} buckets and closes {MANY} connections. What happens to the others?",
    watch=(
        "the events `entered` and `overflow`;",
        "`time_wait` in the lines: `local` or `skipped`;",
        "in the second run, the answer to B's FIN.",
    ),
    runs=(
        Run(
            "time-wait-buckets-full",
            "Both ends close soon",
            f"B has {BUCKETS} buckets and closes {MANY} connections first, one after the other. A closes at once, too.",
            (
                Statement(
                    "Connections of B that ended in TIME_WAIT: {}.",
                    lines("b", "time_wait", "local"),
                    BUCKETS,
                ),
                Statement(
                    "Connections of B that ended without it: {}.",
                    lines("b", "time_wait", "skipped"),
                    MANY - BUCKETS,
                ),
                Statement(
                    "The kernel has counted TCPTimeWaitOverflow {}.",
                    counter("b", "TCPTimeWaitOverflow"),
                    MANY - BUCKETS,
                ),
                Statement(
                    "Ends of A that were orderly: {}.", lines("a", "verdict", "orderly"), MANY
                ),
                Statement("RST on the wire: {}.", count("RST"), 0),
            ),
            shown=("b", MANY - 1),
        ),
        Run(
            "time-wait-overflow-fin-wait2",
            "The peer closes later",
            "A has no bucket at all and closes first. B closes only when A's FIN has been acknowledged.",
            (
                Statement(
                    "A has forgotten the connection: event `overflow` {}.",
                    events("a", "overflow"),
                    1,
                ),
                Statement("B's FIN is answered with RST: {} on the wire.", count("A>B RST"), 1),
                Statement("B's verdict is {}.", field("b", "verdict"), "peer-lost-state"),
            ),
        ),
    ),
    machines=("time-wait-buckets-full", "time-wait-overflow"),
    answer="""\
If both ends close soon, no data is lost: the connection is complete, only nobody stays to wait. What is
lost is the protection of TIME_WAIT: a repeated FIN meets no socket and gets RST, and the four numbers are
free for a new connection at once.

The second run is the worse one, and few people know it. An end that has closed and waits for the peer's
FIN is in FIN_WAIT2. If no program holds it any more, Linux keeps that, too, in a bucket. Without one the
kernel forgets the connection half-way through its close: whatever the peer still sends, its FIN or its
data, is answered with RST. A program on the peer that was about to finish in order gets an error.

So an overflow is no reason for panic, and the limit no protection: a bucket takes a few hundred bytes.
Raise `tcp_max_tw_buckets`, or let the clients close first ([experiment 12](#who-closes-first)).
""",
    sources=(
        Citation(
            "inet_twsk_alloc() in net/ipv4/inet_timewait_sock.c", "no bucket at or above the limit"
        ),
        Citation(
            "tcp_time_wait() in net/ipv4/tcp_minisocks.c",
            "TCPTimeWaitOverflow; the socket is closed",
        ),
        Citation(
            "tcp_rcv_state_process() in net/ipv4/tcp_input.c and __tcp_close() in net/ipv4/tcp.c",
            "FIN_WAIT2 of an orphan goes to a timewait socket",
        ),
    ),
)

CLOSE_FIRST = Experiment(
    name="who-closes-first",
    question="Who should close first?",
    begin="""\
All the experiments before lead to this question, and a protocol has to answer it. Who closes first
carries TIME_WAIT. Who closes too early loses data. Who does not close at all leaves the other end
waiting.
""",
    guess=f"A client opens {MANY} connections to one server, one after the other. Which side would you let close, and why?",
    watch=(
        "where TIME_WAIT is, and how many ports it takes;",
        "which ends have an error;",
        "who gets the answer.",
    ),
    runs=(
        Run(
            "time-wait-on-client",
            "The client closes first",
            f"{MANY} short connections. The client closes each when it has its answer.",
            (
                Statement(
                    "TIME_WAIT began on the client: {}, each with a local port of its own.",
                    events("a", "entered"),
                    MANY,
                ),
                Statement("On the server: {}.", events("b", "entered"), 0),
            ),
            shown=("a", 0),
        ),
        Run(
            "time-wait-on-server",
            "The server closes first",
            f"{MANY} short connections. The server closes each as soon as it has answered.",
            (
                Statement("TIME_WAIT began on the client: {}.", events("a", "entered"), 0),
                Statement(
                    "On the server: {}, all with the same local port.", events("b", "entered"), MANY
                ),
            ),
            shown=("b", 0),
        ),
        Run(
            "answer-before-reset",
            "The server closes too early",
            "The client sends a request of 1000 bytes, twice. The server answers each and closes without having read "
            "the request. Then the client reads the first answer, and sends more on the second connection.",
            (
                Statement("B's kernel sends RST: {} on the wire.", count("B>A RST ACK"), 2),
                Statement("FIN on the wire: {}.", count("FIN"), 0),
                Statement(
                    "Ends of B with the verdict abort-unread: {}.",
                    lines("b", "verdict", "abort-unread"),
                    2,
                ),
                Statement("Ends of A with ECONNRESET: {}.", lines("a", "error", "ECONNRESET"), 2),
            ),
        ),
        Run(
            "answer-then-drain",
            "The server refuses, and does it right",
            "The server answers, calls shutdown(SHUT_WR) and reads to the end before it closes.",
            (
                Statement("RST on the wire: {}.", count("RST"), 0),
                Statement("A has received {} bytes: the answer.", field("a", "bytes_received"), 3),
                Statement("A's verdict is {}.", field("a", "verdict"), "orderly"),
            ),
        ),
        Run(
            "linger-0",
            "Nobody waits: SO_LINGER 0",
            "A closes with SO_LINGER 0, which some programs use to have no TIME_WAIT.",
            (
                Statement("A sends RST: {} on the wire.", count("A>B RST ACK"), 1),
                Statement("FIN on the wire: {}.", count("FIN"), 0),
                Statement("B's program gets {}.", field("b", "error"), "ECONNRESET"),
            ),
        ),
    ),
    machines=("time-wait-on-client", "time-wait-on-server"),
    answer="""\
Data first. The end that knows that everything has been read may close first: for request and answer, that
is the client, when it has the whole answer. A server that closes after its answer must have read the
request to its end; otherwise its kernel sends RST instead of FIN. What the server's kernel has not delivered yet
is lost. On Linux a client can read what has arrived before it; a client that is still sending its request
gets the error first, and most programs give up then. On other systems the RST may also throw away what
the client has not read. If a server must refuse a request early, it should answer, call
shutdown(SHUT_WR), read and throw away what still comes, and close after the client's FIN.

Then TIME_WAIT. On the client it takes a local port for each connection, at most about 28,000 for one
server address and port. On the server it takes a few hundred bytes and no port. So with a few busy
clients, such as proxies, the server should close, or better: nobody, for a while. With many clients it
does not matter to them, and a server that lets them close first has no TIME_WAIT at all.

Best is to close less often: keep connections open and use them again. Then the idle time-out of the
client should be the shorter one. Otherwise the server closes while the next request is on its way, and
the request gets RST.

SO_LINGER 0 is no way to save TIME_WAIT. It throws away what was not delivered, and the peer gets an error
for a connection that was fine.
""",
    sources=(
        Citation(
            "__tcp_close() in net/ipv4/tcp.c; RFC 9293, section 3.6.1",
            "unread data, SO_LINGER 0: RST instead of FIN",
        ),
        Citation(
            "tcp_reset() in net/ipv4/tcp_input.c",
            "a RST that is received: the error; what waits to be sent is thrown away, what waits to be read is not",
        ),
        Citation("RFC 9112, section 9.6", "how an HTTP server closes without losing its answer"),
        Citation("RFC 9293, section 3.6", "the end that closes first goes to TIME-WAIT"),
    ),
)
