# SPDX-License-Identifier: Apache-2.0
"""Hosts that go away: dead, or rebooted."""

from __future__ import annotations

from tracetw.lab.book.experiment import Citation, Experiment, Run, Statement
from tracetw.lab.book.measure import (
    about,
    count,
    counter,
    field,
    gap,
    silence,
    until_end,
)
from tracetw.lab.expect.match import at_least, known_by

__all__ = ["BARE_RST", "DEAD", "REBOOTED", "RECONNECTS"]

DEAD = Experiment(
    name="dead-host",
    question="When does a host notice that its peer is dead?",
    begin="""\
The power of B fails. B says nothing: no FIN, no RST. A has a connection to it. It makes a difference
whether A has sent something that is not acknowledged yet (data in flight), or whether the connection is
idle.

In the lab B loses every packet from a moment on, which looks the same to A.
""",
    guess="A's limits are a few seconds here. Which of the three connections ends, and what does A's program learn?",
    watch=(
        "how often A sends the same data, and the pauses in between;",
        "`limit` in tracetw's line: which limit it was;",
        "the idle connection: what A sends while B is away.",
    ),
    runs=(
        Run(
            "data-retries-exhausted",
            "With data in flight",
            "B is gone, and A sends five bytes. `tcp_retries2` is 3 here instead of 15, and `tcp_rto_max_ms` 1000: at most 1 s "
            "between two attempts.",
            (
                Statement("A sends the five bytes {} times.", count("A>B DATA"), at_least(4)),
                Statement(
                    "The second copy comes {} after the first.",
                    gap("A>B DATA", "A>B DATA"),
                    about(190, 500),
                ),
                Statement(
                    "{} after the first copy A's kernel gives up, without a word on the wire.",
                    until_end("A>B DATA", "a"),
                    about(2200, 15_000),
                ),
                Statement("A's program gets {}.", field("a", "error"), "ETIMEDOUT"),
                Statement("A's verdict is {}.", field("a", "verdict"), "retransmit-exhausted"),
            ),
        ),
        Run(
            "user-timeout",
            "With data in flight and TCP_USER_TIMEOUT",
            "The same, but the program has set TCP_USER_TIMEOUT to 1500 ms.",
            (
                Statement(
                    "A gives up {} after the first copy.",
                    until_end("A>B DATA", "a"),
                    about(1400, 10_000),
                ),
                Statement("A's verdict is {}.", field("a", "verdict"), "user-timeout"),
            ),
        ),
        Run(
            "dead-while-idle",
            "Without data in flight",
            "The connection is idle. B is away for two seconds, longer than A's limit for data (`tcp_retries2` is 2), "
            "and comes back.",
            (
                Statement("The wire is silent for {}.", silence(), about(2000, 10_000)),
                Statement(
                    "Segments that A has sent a second time: {}.", counter("a", "RetransSegs"), 0
                ),
                Statement("A's verdict, later, is {}.", field("a", "verdict"), "orderly"),
            ),
        ),
    ),
    machines=("power-cut-data-in-flight", "link-down-for-a-moment"),
    answer="""\
TCP notices a dead peer only by an answer that does not come. With data in flight a timer runs: the kernel
sends the data again, after 200 ms at first, then after twice as long each time. When the limit is
reached, the connection is over. The program gets ETIMEDOUT, or EHOSTUNREACH if a router has sent an
error.

The limit of an ordinary connection is `tcp_retries2`. The kernel takes its 15 as the time that 15 doubled
timeouts would need, at most 120 s each: 924.6 seconds, a good quarter of an hour. A program that cannot
wait sets TCP_USER_TIMEOUT. (The kernel counts from the first copy that its timer sends, not from the
first of all and not from a tail loss probe. That is why tracetw's sentence has a shorter time than the
ladder.)

Without data in flight no timer runs. A can be connected to a dead peer for months. Nothing is wrong with
that as long as A has nothing to say: the outage of the third run did no harm. If A must know, it needs
[keepalive](#idle-and-keepalive) or a message of the application that asks for an answer.

The dead peer learns of nothing. When B lives again and still has the connection, as after an outage of
the network, its next segment meets no socket on A: RST. The last two segments of the first ladder show
it.
""",
    sources=(
        Citation("tcp_rearm_rto() in net/ipv4/tcp_input.c", "no packet in flight, no timer"),
        Citation(
            "retransmits_timed_out() and tcp_write_timeout() in net/ipv4/tcp_timer.c",
            "a number of retries is a time",
        ),
        Citation(
            "tcp_write_err() in net/ipv4/tcp_timer.c", "ETIMEDOUT, or the error that ICMP brought"
        ),
        Citation("RFC 9293, section 3.8.3; RFC 5482", "when to give up; the user timeout"),
    ),
)

BARE_RST = "B>A RST !ACK"
# Only a kernel that shows the SYN that it refused, or the challenge, tells this from any other RST.
STALE = known_by(
    "drop-socket",
    "stale-syn-reset",
    otherwise=known_by("challenge_ack", "stale-syn-reset", otherwise="peer-lost-state"),
)
REBOOTED = Experiment(
    name="rebooted-host-gets-data",
    question="What happens when a rebooted host is sent data?",
    begin="""\
B loses its power and comes back, all within a pause of the connection. B's kernel knows nothing of its
old connections. A knows nothing of the reboot, and sends.

In the lab B's socket is destroyed and the RST that the kernel sends for it is lost. That is what a power
cut and a reboot leave behind. B's line, `abort-admin`, is the lab's doing: after a power cut B would have
none.
""",
    guess="Does it matter whether B's service is up again?",
    watch=(
        "B's answer to A's data, and how soon it comes;",
        "the flags of the RST: with ACK or without;",
        "A's verdict: peer-lost-state, not peer-reset.",
    ),
    runs=(
        Run(
            "data-to-rebooted-peer",
            "The service is up again",
            "B's listener is there. A sends data on the old connection.",
            (
                Statement(
                    "B answers after {}.", gap("A>B DATA", BARE_RST, number=-1), about(0, 100)
                ),
                Statement("RST without ACK from B: {}.", count(BARE_RST), 1),
                Statement("A's program gets {}.", field("a", "error"), "ECONNRESET"),
                Statement("A's verdict is {}.", field("a", "verdict"), "peer-lost-state"),
            ),
        ),
        Run(
            "data-to-rebooted-peer-no-service",
            "The service is not up",
            "Nobody listens on B. A sends data on the old connection.",
            (
                Statement(
                    "B answers after {}.", gap("A>B DATA", BARE_RST, number=-1), about(0, 100)
                ),
                Statement("RST without ACK from B: {}.", count(BARE_RST), 1),
                Statement("A's verdict is {}.", field("a", "verdict"), "peer-lost-state"),
            ),
        ),
    ),
    machines=("reboot-then-data", "kernel-panic"),
    answer="""\
It does not matter. A's segment belongs to no connection on B. A listener accepts only a SYN, and a
segment with ACK gets a RST; without a listener there is no socket at all, and the answer is the same RST.

So a reboot is found within a round-trip time, but only when A sends something. An idle A learns nothing,
however long ago the reboot was.

The RST has no ACK flag and no timestamp, and takes its sequence number from the ACK field of A's segment.
A kernel that aborts a connection of its own sends a RST with both. That is how tracetw tells
peer-lost-state from peer-reset. It says *lost*, not *rebooted*: a router that has forgotten the
connection can answer in B's name, and A cannot tell the two apart.

A firewall in front of B may drop such a RST or A's data. Then A does not get this quick answer, and [the
limits of a dead host](#dead-host) apply.
""",
    sources=(
        Citation(
            "tcp_rcv_state_process() in net/ipv4/tcp_input.c",
            "in LISTEN a segment with ACK is answered with RST",
        ),
        Citation("tcp_v4_rcv() and tcp_v4_send_reset() in net/ipv4/tcp_ipv4.c", "no socket: RST"),
        Citation(
            "tcp_send_active_reset() in net/ipv4/tcp_output.c", "the RST of a connection has ACK"
        ),
        Citation(
            "RFC 9293, section 3.5.2",
            "the sequence number of such a RST; half-open connections: 3.5.1",
        ),
    ),
)

RECONNECTS = Experiment(
    name="rebooted-host-connects",
    question="What happens when a rebooted host connects from the same port?",
    begin="""\
Now it is A that lost its power. After the reboot its program connects to B again, and by chance, or
because the program binds it, from the same port. For B that is a SYN in the middle of an established
connection.
""",
    guess="B may accept the SYN, drop it, or reset the old connection. Which one is safe, if anybody could have sent that SYN?",
    watch=(
        "B's answer to the SYN: it is not SYN ACK;",
        "what A answers to that, and how soon A sends its SYN again;",
        "two lines on B: the old connection and the new one.",
    ),
    runs=(
        Run(
            "rebooted-peer-reconnects",
            "A has really forgotten",
            "A's end is gone without a segment; its line is undetermined, since no fact says why. A connects to B from the same port.",
            (
                Statement(
                    "B answers the SYN with a challenge ACK: TCPChallengeACK {}.",
                    counter("b", "TCPChallengeACK"),
                    1,
                ),
                Statement(
                    "A answers that with a RST: RST without ACK {}.", count("A>B RST !ACK"), 1
                ),
                Statement(
                    "A sends its SYN again {} after its RST.",
                    gap("A>B RST", "A>B SYN"),
                    about(0, 400),
                ),
                Statement(
                    "B's verdict on the old connection is {}.",
                    field("b", "verdict"),
                    STALE,
                ),
                Statement(
                    "B's verdict on the new one is {}.", field("b", "verdict", number=1), "orderly"
                ),
            ),
        ),
        Run(
            "duplicate-syn-reused-port",
            "A has not forgotten",
            "A and B are connected. A SYN of an earlier connection between the same ports, which strayed in the "
            "network, arrives at B.",
            (
                Statement(
                    "B answers with a challenge ACK: TCPChallengeACK {}.",
                    counter("b", "TCPChallengeACK"),
                    1,
                ),
                Statement(
                    "A knows the connection and ignores that ACK. RST on the wire: {}.",
                    count("RST"),
                    0,
                ),
                Statement("B's verdict is {}.", field("b", "verdict", number=1), "orderly"),
            ),
        ),
    ),
    machines=("duplicate-syn-reused-port",),
    answer="""\
B cannot know who sent the SYN. If a SYN could reset a connection, everybody who guesses the ports could
end it. So B sends a challenge ACK, which asks: is it you? It says which byte B expects next.

A host that has the connection knows that ACK and does nothing. A host that is just connecting anew gets
an ACK for something that it has never sent, and answers with a RST that carries exactly the number in
that ACK. Somebody who cannot see the packets does not know this number. So B believes the RST: the old
connection ends.

A does not wait for a whole timeout before it sends its SYN again: tcp_rcv_synsent_state_process() sets
the timer to the shortest that there is, two ticks of the kernel's clock. The reconnection costs
milliseconds, not the second that a lost SYN costs.
""",
    sources=(
        Citation(
            "tcp_validate_incoming() in net/ipv4/tcp_input.c; RFC 5961, section 4",
            "a SYN is challenged",
        ),
        Citation(
            "tcp_rcv_synsent_state_process() in net/ipv4/tcp_input.c",
            "an unacceptable ACK: RST, and the SYN again after TCP_TIMEOUT_MIN",
        ),
        Citation(
            "RFC 9293, section 3.5.1, figure 9", "recovery of an old connection after a crash"
        ),
        Citation("RFC 5961, section 3", "only a RST with exactly the expected number resets"),
    ),
)
