# SPDX-License-Identifier: Apache-2.0
"""Idle connections, and programs that hang or crash."""

from __future__ import annotations

from tracetw.lab.book.experiment import Citation, Experiment, Run, Statement
from tracetw.lab.book.hosts import BARE_RST
from tracetw.lab.book.measure import about, count, counter, field, gap, lines, until_end
from tracetw.lab.expect.match import at_least

__all__ = ["CRASHED", "IDLE"]

PROBE = "A>B PURE"
IDLE = Experiment(
    name="idle-and-keepalive",
    question="What does keepalive find, and what not?",
    begin="""\
Experiment 3 has shown that an idle connection notices nothing. Keepalive makes it send something: after a
time without a segment the kernel sends a probe, which the peer's kernel must acknowledge. A program
switches it on for each socket (SO_KEEPALIVE); it is off by default.
""",
    guess="Of these three, which does keepalive find: a peer without power, a peer that has rebooted, a peer whose "
    "program hangs?",
    watch=(
        "the probes: ACKs without data on an idle connection;",
        "what comes back, or not;",
        "who sends the RST in the end.",
    ),
    runs=(
        Run(
            "keepalive-expired",
            "The peer is dead",
            "B receives nothing any more. A probes after 1 s, then every second, and gives up after 2 probes.",
            (
                Statement("A sends {} probes.", field("a", "probes.total"), 2),
                Statement(
                    "{} after the last segment of B A gives up.",
                    until_end("B>A SYN ACK", "a"),
                    about(2500, 15_000),
                ),
                Statement(
                    "A itself sends the RST, for a peer that may still live: RST with ACK {}.",
                    count("A>B RST ACK"),
                    1,
                ),
                Statement("A's verdict is {}.", field("a", "verdict"), "keepalive-expired"),
            ),
        ),
        Run(
            "keepalive-finds-reboot",
            "The peer has rebooted",
            "B has lost the connection as by a reboot. A's first probe comes after 1 s.",
            (
                Statement(
                    "B answers the probe after {}.", gap(PROBE, BARE_RST, number=-1), about(0, 100)
                ),
                Statement("RST without ACK from B: {}.", count(BARE_RST), 1),
                Statement("A's verdict is {}.", field("a", "verdict"), "peer-lost-state"),
            ),
        ),
        Run(
            "frozen-process-keepalive",
            "The peer's program hangs",
            "B's process is stopped with SIGSTOP. A would give up after 1 unanswered probe.",
            (
                Statement("A has sent {} probes.", counter("a", "TCPKeepAlive"), at_least(3)),
                Statement(
                    "B's kernel has answered: ACKs without data from B: {}.",
                    count("B>A PURE"),
                    at_least(4),
                ),
                Statement("RST on the wire: {}.", count("RST"), 0),
                Statement("A's verdict, later, is {}.", field("a", "verdict"), "orderly"),
            ),
        ),
    ),
    machines=(
        "power-cut-keepalive",
        "reboot-within-keepalive",
        "reboot-after-keepalive",
        "sleeps-too-long",
    ),
    answer="""\
A keepalive probe is a segment without data, one byte before what the peer expects. The peer's kernel must
acknowledge it. The program is not asked. So keepalive finds dead hosts and rebooted hosts, not stuck
programs: the third run could go on for years. Against those helps only a message of the application that
wants an answer.

With the defaults it finds them late: the first probe after 2 hours, then 9 probes 75 s apart, together 2
hours and 11 minutes. A program sets its own times with TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT.

Keepalive is for idle connections. As long as data is in flight no probe is sent, and the limits of
[experiment 3](#dead-host) decide. TCP_USER_TIMEOUT covers both.

Another use: probes keep entries of routers and firewalls alive, which forget idle connections, often
after minutes.
""",
    sources=(
        Citation(
            "tcp_keepalive_timer() in net/ipv4/tcp_timer.c",
            "the times; nothing while data is in flight; RST and ETIMEDOUT at the end; TCP_USER_TIMEOUT",
        ),
        Citation(
            "tcp_xmit_probe_skb() in net/ipv4/tcp_output.c",
            "the probe: sequence number snd_una - 1",
        ),
        Citation("RFC 9293, section 3.8.4", "keepalive is off by default, and 2 hours at least"),
    ),
)

CRASHED = Experiment(
    name="crashed-process",
    question="What does the peer see when a process crashes?",
    begin="""\
Now no host dies, only a process: it crashes, or somebody kills it. Nobody calls close(). But the kernel
is still there.
""",
    guess="After SIGSEGV, does the peer get a FIN, a RST or nothing? And after SIGKILL?",
    watch=(
        "FIN or RST;",
        "`bytes_unread` of A's line;",
        "`closed_by` and `exit` of A's line: how the process ended.",
    ),
    runs=(
        Run(
            "sigsegv",
            "A process crashes",
            "The process on A gets SIGSEGV.",
            (
                Statement("A's kernel sends FIN: {} on the wire.", count("A>B FIN"), at_least(1)),
                Statement("RST on the wire: {}.", count("RST"), 0),
                Statement(
                    "A's line says who closed: `closed_by` `{}`.",
                    field("a", "closed_by"),
                    "process-crash",
                ),
                Statement(
                    "It names the signal: `exit.signal` {}.", field("a", "exit.signal"), "SIGSEGV"
                ),
                Statement(
                    "For B it is a close as any other: its verdict is {}.",
                    field("b", "verdict"),
                    "orderly",
                ),
            ),
        ),
        Run(
            "sigkill-with-unread-data",
            "A process is killed with unread data",
            "B has sent five bytes. The process on A has not read them when it gets SIGKILL.",
            (
                Statement("{} bytes were unread.", field("a", "bytes_unread"), 5),
                Statement("A's kernel sends RST: {} on the wire.", count("A>B RST ACK"), 1),
                Statement("FIN on the wire: {}.", count("FIN"), 0),
                Statement("B's program gets {}.", field("b", "error"), "ECONNRESET"),
            ),
        ),
        Run(
            "parent-exits-child-holds",
            "A process exits, and its child has the socket, too",
            "The process on A has forked. The parent exits; the child goes on, sends, and closes later.",
            (
                Statement(
                    "The child can still send. Segments of data from A: {}.",
                    count("A>B DATA"),
                    at_least(1),
                ),
                Statement(
                    "Lines of A: {}; the exit of the parent has made none.",
                    lines("a", "kind", "close"),
                    1,
                ),
                Statement("Its owner is the {}.", field("a", "comm"), "child"),
            ),
        ),
    ),
    machines=("sigsegv", "sigkill-with-unread-data"),
    answer="""\
When a process ends, for whatever reason, the kernel closes its descriptors. For TCP that is the same as
close(): a FIN, and TIME_WAIT if it was the first. The peer cannot see the difference between a crash and
a program that was done. If it matters, the protocol must say when a message is complete.

A close with unread data sends RST instead, by close() and by a crash alike: the kernel cannot deliver
what it has acknowledged, and says so. A process that is killed in the middle of work often has unread
data. So a restart under load shows resets at the clients.

The kernel closes a socket when its last descriptor goes. A child or another process that holds a copy
keeps the connection open, and the peer waits.

A core file delays the FIN until it is written. The scenario `sigsegv-with-core` shows that.
""",
    sources=(
        Citation(
            "do_exit() in kernel/exit.c, exit_files() in fs/file.c, inet_release() in net/ipv4/af_inet.c",
            "the way from an exit to tcp_close()",
        ),
        Citation(
            "__tcp_close() in net/ipv4/tcp.c; RFC 2525, section 2.17",
            "unread data: RST; otherwise FIN",
        ),
    ),
)
