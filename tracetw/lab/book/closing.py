# SPDX-License-Identifier: Apache-2.0
"""How a close looks: four segments or three, and what happens when one of them is lost."""

from __future__ import annotations

from tracetw.lab.book.experiment import Citation, Experiment, Run, Statement
from tracetw.lab.book.measure import (
    about,
    after,
    count,
    counter,
    events,
    field,
    gap,
    in_state,
    until_end,
)
from tracetw.lab.expect.match import at_least

__all__ = ["LOST", "SEGMENTS"]

FIN_TO_ACK = gap("A>B FIN", "B>A PURE")

SEGMENTS = Experiment(
    name="four-or-three",
    question="Why does a close take four segments, and when only three?",
    begin="""\
A connection has two directions, and each end closes its own with a FIN. Each FIN is acknowledged. That
makes four segments: FIN, ACK, FIN, ACK. Many captures show only three, because one segment is the ACK of
the first FIN and the second FIN at once. Who decides that?
""",
    guess="The program on B sleeps in recv() and closes as soon as it has seen A's FIN, within a millisecond. "
    "Four segments or three?",
    watch=(
        "the first segment of B after A's FIN: an ACK alone, or FIN ACK;",
        "the time between A's FIN and that segment;",
        "`form` in tracetw's line: `fin-4` or `fin-3`.",
    ),
    runs=(
        Run(
            "four-way-close",
            "B's program is slow",
            "A closes. B's program closes only when A's FIN has been acknowledged.",
            (
                Statement("A's FIN waits {} for its ACK.", FIN_TO_ACK, about(30, 120)),
                Statement("The form of A's end is `{}`.", field("a", "form"), "fin-4"),
            ),
        ),
        Run(
            "three-segments",
            "B's program is quick",
            "The same, but B's program waits in recv() and closes the moment it sees the end.",
            (
                Statement(
                    "B's FIN comes {} after A's.",
                    gap("A>B FIN", "B>A FIN"),
                    about(0, 40),
                ),
                Statement(
                    "ACKs of B without a FIN, after A's FIN: {}.",
                    after("A>B FIN", "B>A PURE"),
                    0,
                ),
                Statement("The form of A's end is `{}`.", field("a", "form"), "fin-3"),
            ),
        ),
        Run(
            "four-segments-quick-ack",
            "B's program is quick, and B delays no ACK",
            "The same quick program, but B's route to A has `quickack 1` (ip-route(8)).",
            (
                Statement("A's FIN waits {} for its ACK.", FIN_TO_ACK, about(0, 20)),
                Statement("The form of A's end is `{}`.", field("a", "form"), "fin-4"),
            ),
        ),
        Run(
            "four-segments-without-data",
            "B has never received data",
            "A connects and closes, without a byte in between. B's program is slow.",
            (
                Statement("A's FIN waits {} for its ACK.", FIN_TO_ACK, about(0, 28)),
                Statement(
                    "B's timer for delayed ACKs has fired: DelayedACKs {}.",
                    counter("b", "DelayedACKs"),
                    1,
                ),
            ),
        ),
    ),
    machines=("four-way-close", "server-closes-first"),
    answer="""\
Linux does not acknowledge a FIN at once. tcp_fin() notes that an ACK is due and puts the connection into
the mode for question and answer (in the source: pingpong mode). The kernel expects the program to answer
soon, and an ACK travels with an answer for nothing. So it starts a timer: the delayed ACK.

Three things can end that wait. B sends a segment anyway: every segment carries an ACK, and if that
segment is B's FIN, the close has three segments. Or the timer fires: the ACK leaves alone, and the close
has four. Or there was no wait, because B delays no ACK on this route.

How long is the timer? The kernel estimates the pause between the data segments that it receives: 40 ms at
first and at least, 200 ms at most. A connection that has never received data has no estimate, so its
timer fires at the next tick of the kernel's clock, within 1 to 10 ms (CONFIG_HZ).

So four or three is no property of TCP, and none of A. It says how fast the program on B is.
""",
    sources=(
        Citation("tcp_fin() in net/ipv4/tcp_input.c", "an ACK is due; CLOSE_WAIT; pingpong mode"),
        Citation(
            "__tcp_ack_snd_check() and tcp_in_quickack_mode() in net/ipv4/tcp_input.c",
            "now or later; RTAX_QUICKACK of the route means now",
        ),
        Citation(
            "tcp_send_delayed_ack() in net/ipv4/tcp_output.c",
            "the timer: `icsk_ack.ato`, 0 before the first data, TCP_DELACK_MAX at most",
        ),
        Citation(
            "tcp_event_data_recv() in net/ipv4/tcp_input.c", "the estimate; TCP_ATO_MIN is 40 ms"
        ),
        Citation("RFC 9293, sections 3.6 and 3.8.6.3", "closing; delayed ACKs, less than 0.5 s"),
    ),
)

LOST = Experiment(
    name="lost-fin-or-ack",
    question="What does a lost FIN cost, and what a lost last ACK?",
    begin="""\
Segments get lost. A's program has called close() and goes on; it may have exited. If a segment of the
close is lost now, who notices, and who repairs it?
""",
    guess="The FIN is lost: which end repeats what? And when the last ACK is lost?",
    watch=(
        "the second copy of a FIN, and how long after the first it comes;",
        "how long LAST_ACK lasts when the last ACK is lost;",
        "`retransmits.fin` in tracetw's line, and the event `reacked` of TIME_WAIT.",
    ),
    runs=(
        Run(
            "fin-lost-once",
            "A's FIN is lost",
            "B does not receive A's first FIN. Then the network works again.",
            (
                Statement(
                    "A sends its FIN again after {}.", gap("A>B FIN", "A>B FIN"), about(190, 500)
                ),
                Statement(
                    "A's line counts the repetitions: `retransmits.fin` {}.",
                    field("a", "retransmits.fin"),
                    at_least(1),
                ),
                Statement("A's verdict is {} all the same.", field("a", "verdict"), "orderly"),
            ),
        ),
        Run(
            "last-ack-lost-once",
            "The last ACK is lost",
            "B does not receive the ACK of its own FIN. Then the network works again.",
            (
                Statement(
                    "B sends its FIN again after {}.", gap("B>A FIN", "B>A FIN"), about(190, 500)
                ),
                Statement(
                    "B stays in LAST_ACK for {}.", in_state("b", "LAST_ACK"), about(190, 2000)
                ),
                Statement(
                    "A's TIME_WAIT acknowledges it once more: event `reacked` {}.",
                    events("a", "reacked"),
                    at_least(1),
                ),
                Statement("B's verdict is {}.", field("b", "verdict"), "orderly"),
            ),
        ),
        Run(
            "fin-exhausted-fin-wait1",
            "Every FIN is lost",
            "B receives nothing any more. A's limit is low here: `tcp_orphan_retries` is 1.",
            (
                Statement("A sends its FIN {} times.", count("A>B FIN"), at_least(2)),
                Statement(
                    "{} after the first one A gives up.",
                    until_end("A>B FIN", "a"),
                    about(700, 8000),
                ),
                Statement("A's verdict is {}.", field("a", "verdict"), "fin-exhausted"),
                Statement(
                    "B still has its connection, and its next data meets no socket on A: RST without ACK {}.",
                    count("A>B RST !ACK"),
                    1,
                ),
            ),
        ),
    ),
    machines=("fin-lost-once", "last-ack-lost-once"),
    answer="""\
A FIN takes a sequence number, as a byte of data does. So it is acknowledged, and repeated if no ACK
comes. The kernel waits for at least 200 ms, and twice as long each time. The first copy is often the tail
loss probe, which comes after two round-trip times and those 200 ms; on a fast network that is the same.

A pure ACK takes no sequence number. Nobody acknowledges it, so nobody knows that it was lost. What
repairs it is the other end: B repeats its FIN, and somebody on A must be there to acknowledge it again.
That is the first job of TIME_WAIT. Without it A would answer with RST, and the end of a complete
connection would look like an error on B.

The price is a fifth of a second, and no program pays it: close() does not wait for an answer.

The kernel does not repeat a FIN forever. A socket without a program is an orphan, and for orphans
`tcp_orphan_retries` counts, not `tcp_retries2`. Its default, 0, means 8 as long as the timeout is below
its maximum: about 100 seconds.
""",
    sources=(
        Citation("tcp_send_fin() in net/ipv4/tcp_output.c", "the FIN is queued as data is"),
        Citation(
            "tcp_schedule_loss_probe() in net/ipv4/tcp_output.c; RFC 8985, section 7",
            "the tail loss probe: 2 RTT, and the minimum of the timeout if one packet is out",
        ),
        Citation(
            "TCP_RTO_MIN in include/net/tcp.h; RFC 6298, section 5", "200 ms; doubled each time"
        ),
        Citation(
            "tcp_write_timeout() and tcp_orphan_retries() in net/ipv4/tcp_timer.c",
            "how long an orphan tries; 0 means 8",
        ),
        Citation(
            "tcp_timewait_state_process() in net/ipv4/tcp_minisocks.c; RFC 9293, section 3.10.7.4",
            "TIME_WAIT acknowledges the FIN once more",
        ),
    ),
)
