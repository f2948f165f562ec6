# SPDX-License-Identifier: Apache-2.0
"""TIME_WAIT: what it is for, and what happens to those who do not want to wait."""

from __future__ import annotations

from tracetw.lab.book.experiment import Citation, Experiment, Run, Statement
from tracetw.lab.book.measure import (
    about,
    between_events,
    count,
    counter,
    events,
    field,
    gap,
    in_state,
    lines,
)
from tracetw.lab.scenarios.timewait import MANY

TIME_WAIT = Experiment(
    name="time-wait",
    question="TIME_WAIT: why, who, and how many?",
    begin="""\
After a close one end keeps a small rest of the connection: TIME_WAIT. No process owns it, `ss -tan` lists
it, `tracetw timewait` counts it, and it is there for a minute.

[Experiment 2](#lost-fin-or-ack) has shown its first job: to acknowledge a FIN that is repeated. The
second: a segment that strayed in the network must not arrive in a new connection between the same ports.
""",
    guess="The server closes 100 connections a second, always first. How many sockets in TIME_WAIT does it have, and "
    "how many does each client have?",
    watch=(
        "the end that sends the first FIN: it is the one with TIME_WAIT;",
        "the events `entered` and `expired`;",
        "time_wait in tracetw's lines: local, remote.",
    ),
    runs=(
        Run(
            "server-closes-first",
            "Who: the first to close",
            "A and B have talked. B, the server, closes first.",
            (
                Statement("TIME_WAIT began on B: {}.", events("b", "entered"), 1),
                Statement("TIME_WAIT began on A: {}.", events("a", "entered"), 0),
                Statement(
                    "A's line says that it is at the other end: time_wait {}.",
                    field("a", "time_wait"),
                    "remote",
                ),
            ),
        ),
        Run(
            "simultaneous-close",
            "Who: both, if the FINs cross",
            "Both close before either has received the FIN of the other.",
            (
                Statement("TIME_WAIT began on A: {}.", events("a", "entered"), 1),
                Statement("TIME_WAIT began on B: {}.", events("b", "entered"), 1),
                Statement("A was in CLOSING for {}.", in_state("a", "CLOSING"), about(0, 10_000)),
            ),
        ),
        Run(
            "old-timestamp-time-wait",
            "Why: old segments",
            "The connection is over and A is in TIME_WAIT. Data of B arrives that is 100 s old by its timestamp.",
            (
                Statement(
                    "A's TIME_WAIT answers after {} with an ACK; no program gets the data.",
                    gap("B>A DATA", "A>B PURE", number=-1),
                    about(0, 100),
                ),
                Statement("RST on the wire: {}.", count("RST"), 0),
            ),
        ),
        Run(
            "time-wait-on-server",
            "How many: one for each close",
            f"{MANY} short connections one after the other. The server closes each as soon as it has answered.",
            (
                Statement("TIME_WAIT began on the server: {}.", events("b", "entered"), MANY),
                Statement("On the client: {}.", events("a", "entered"), 0),
            ),
            shown=("b", 0),
        ),
        Run(
            "time-wait-expires",
            "How long: a minute",
            "A closes first and waits. `tcp_fin_timeout` is 5 s on A, which many people think is the time of TIME_WAIT.",
            (
                Statement(
                    "TIME_WAIT ends after {}.",
                    between_events("a", "entered", "expired"),
                    about(59_900, 70_000),
                ),
            ),
        ),
    ),
    machines=("server-closes-first", "time-wait-on-server"),
    answer="""\
TIME_WAIT belongs to the end whose FIN was first, since only that end sends the last ACK. Nobody
acknowledges it, so this end must stay for a while and answer if the peer repeats its FIN.

Old segments are the other reason. A connection is known by its four numbers: two addresses, two ports. A
new one with the same four could get a segment of the old one, if it came late enough for its sequence
number to fit. RFC 9293 asks for two maximum segment lifetimes (MSL) of quiet. Linux waits 60 s, a
constant of the source. `tcp_fin_timeout` is something else: the time for FIN_WAIT2, in which a closed end
waits for the peer's FIN.

How many? The rate of closes times 60 s. A server that closes 100 connections a second has 6,000 in
TIME_WAIT, and its clients have none. That is not a fault. Each takes a few hundred bytes, no process and
no descriptor.

The cost is elsewhere: an end in TIME_WAIT keeps its local port for that peer. A server has one port for
all clients, so it costs nothing. A client has about 28,000 ports for one destination: with more than
about 470 closes a second it runs out. `tracetw timewait` counts them and says when.
""",
    sources=(
        Citation(
            "tcp_time_wait() in net/ipv4/tcp_minisocks.c",
            "the socket becomes a small timewait socket",
        ),
        Citation("TCP_TIMEWAIT_LEN in include/net/tcp.h", "60 s"),
        Citation(
            "tcp_timewait_state_process() in net/ipv4/tcp_minisocks.c",
            "what TIME_WAIT answers; PAWS",
        ),
        Citation("RFC 9293, sections 3.4.2, 3.6 and 3.10.7.4", "quiet time; TIME-WAIT; 2 MSL"),
        Citation("ip_local_port_range in Documentation/networking/ip-sysctl.rst", "32768 to 60999"),
    ),
)

REUSE = Experiment(
    name="reuse-and-its-price",
    question="Who may take a port that is in TIME_WAIT, and what is the price?",
    begin="""\
A client that has run out of ports wants those in TIME_WAIT back. `tcp_tw_reuse` is the setting that
everybody finds first. In these runs A has only one local port, 40000, and wants to connect a second time.
""",
    guess="Which of these lets A connect again: `tcp_tw_reuse` 0, 1, 2? And which of them does anything for a server?",
    watch=(
        "whether a second SYN leaves A;",
        "the events reused-by-connect and reused-by-syn;",
        "in the last run, the second RST: is it stopped?",
    ),
    runs=(
        Run(
            "time-wait-reuse-refused",
            "`tcp_tw_reuse` 0",
            "A connects to B, closes first, and connects again.",
            (
                Statement("SYN of A on the wire: {}.", count("A>B SYN"), 1),
                Statement(
                    "The second connect() fails: {}.",
                    field("a", "error", number=1),
                    "EADDRNOTAVAIL",
                ),
            ),
        ),
        Run(
            "time-wait-reuse-loopback-only",
            "`tcp_tw_reuse` 2, the default",
            "The same, and A waits for more than two seconds before it connects again.",
            (
                Statement("SYN of A on the wire: {}.", count("A>B SYN"), 1),
                Statement(
                    "The second connect() fails: {}.",
                    field("a", "error", number=1),
                    "EADDRNOTAVAIL",
                ),
            ),
        ),
        Run(
            "time-wait-reused-by-connect",
            "`tcp_tw_reuse` 1",
            "The same with 1.",
            (
                Statement("SYN of A on the wire: {}.", count("A>B SYN"), 2),
                Statement("Event reused-by-connect: {}.", events("a", "reused-by-connect"), 1),
                Statement("The kernel counts it: TWRecycled {}.", counter("a", "TWRecycled"), 1),
            ),
        ),
        Run(
            "time-wait-reuse-needs-timestamps",
            "`tcp_tw_reuse` 1 without timestamps",
            "The same with 1, but `tcp_timestamps` is 0.",
            (
                Statement("SYN of A on the wire: {}.", count("A>B SYN"), 1),
                Statement(
                    "The second connect() fails: {}.",
                    field("a", "error", number=1),
                    "EADDRNOTAVAIL",
                ),
            ),
        ),
        Run(
            "time-wait-reused-by-bind",
            "bind() first, `tcp_tw_reuse` 0",
            "A binds the port itself (with SO_REUSEADDR) and connects, at once.",
            (
                Statement("SYN of A on the wire: {}.", count("A>B SYN"), 2),
                Statement("Event reused-by-connect: {}.", events("a", "reused-by-connect"), 1),
            ),
        ),
        Run(
            "time-wait-reused-by-syn",
            "TIME_WAIT on the server",
            "B closes first. A connects again from the same port; B has no setting for that.",
            (
                Statement("Event reused-by-syn: {}.", events("b", "reused-by-syn"), 1),
                Statement(
                    "B answers the second SYN after {}.",
                    gap("A>B SYN", "B>A SYN ACK", number=-1),
                    about(0, 100),
                ),
            ),
        ),
        Run(
            "stray-reset-reused-port",
            "The price: an old RST",
            "A has taken the port over, and the new connection works. Two RSTs of long ago arrive, with old timestamps: "
            "one somewhere in A's window, one exactly where A expects the next byte.",
            (
                Statement(
                    "The first is challenged: TCPChallengeACK {}.",
                    counter("a", "TCPChallengeACK"),
                    1,
                ),
                Statement(
                    "RSTs that the timestamps have stopped: PAWSEstab {}.",
                    counter("a", "PAWSEstab"),
                    0,
                ),
                Statement(
                    "The second ends the new connection: connections of A that ended by peer-reset: {}.",
                    lines("a", "verdict", "peer-reset"),
                    1,
                ),
            ),
        ),
    ),
    machines=("time-wait-reused-by-syn",),
    answer="""\
`tcp_tw_reuse` is for the end that connects, and nobody else. With 1, connect() takes a port whose
TIME_WAIT is older than a second (since Linux 6.14 `tcp_tw_reuse_delay` says how old), if the old
connection had timestamps. With 2, the default since 4.19, it does so only between loopback addresses. A
server gains nothing by either.

Timestamps are the reason why this is safe for data. The new connection's timestamps are newer, so a
segment of the old one fails PAWS (Protection Against Wrapped Sequences) and is dropped. RFC 6191
describes it.

A program that binds its port itself does not ask for the setting: the kernel then looks only for
timestamps, not for the second.

On a server, a new SYN for a connection in TIME_WAIT is accepted at once, if its timestamp is not older
than the last one seen and one of the two is newer, timestamp or sequence number. That is why TIME_WAIT on
a server hardly ever hurts.

The price is small but real. PAWS is not applied to RST (RFC 7323, rule R1), since a peer that has
rebooted must be able to reset. So an old RST needs only the right sequence number. RFC 5961 makes that
unlikely: a RST anywhere else in the window is challenged. With TIME_WAIT still there neither would have
met a connection.
""",
    sources=(
        Citation(
            "tcp_twsk_unique() in net/ipv4/tcp_ipv4.c",
            "all that connect() asks: the setting, loopback, timestamps, age",
        ),
        Citation(
            "__inet_check_established() in net/ipv4/inet_hashtables.c",
            "bind() and connect(): no setting is asked",
        ),
        Citation(
            "tcp_timewait_state_process() in net/ipv4/tcp_minisocks.c; RFC 6191",
            "the server: TCP_TW_SYN",
        ),
        Citation(
            "tcp_validate_incoming() in net/ipv4/tcp_input.c",
            "PAWS spares RST; a RST not at rcv_nxt is challenged",
        ),
        Citation("RFC 7323, section 5.3; RFC 5961, section 3", "rule R1; challenge ACKs for RST"),
    ),
)
