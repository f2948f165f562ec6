# SPDX-License-Identifier: Apache-2.0
"""Connections that a timer gave up: which timer, which limit, and how long it took.

The peer of a connection that was given up in silence still has it. Once packets arrive again its
next one meets no socket: that is its end of the story.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from tracetw.lab.expect.lines import (
    LEFT_BEHIND,
    client,
    connected,
    got_reset,
    limit,
    sent_by_us,
    server,
    timed_out,
)
from tracetw.lab.expect.match import accepted, at_least, between, known_by, path
from tracetw.lab.expect.scenario import Differs, Scenario
from tracetw.lab.net.fault import held
from tracetw.lab.net.host import PORT, ZERO_WINDOW_PROBE
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, fails
from tracetw.lab.scenarios.moves import (
    forget_connection,
    meet_nobody,
    see_reset,
    wait_for_timeout,
)

__all__ = ["KEEPALIVE_RESET", "LEFT_ON_THE_WIRE", "SCENARIOS", "SMALL", "fill_the_window"]

KEEPALIVE_RESET = sent_by_us("keepalive-expired", "TCP_KEEPALIVE_TIMEOUT")
RTO_MAX = "tcp_rto_max_ms"
"""A sysctl that came late (Linux 6.15): without it the same takes longer."""
SMALL = 4096
FEW_RETRIES = {"tcp_retries2": 3}
# A reset for the end that was left behind, which sends when packets arrive again.
LEFT_ON_THE_WIRE = {"B>A DATA": 1, "A>B RST !ACK": 1}


def send_into_the_void(net: Net) -> None:
    link = net.connect()
    drop = net.drop(net.b)
    link.a.sendall(b"hello")
    wait_for_timeout(link)
    meet_nobody(net, link.b, drop)


def send_into_the_void_with_user_timeout(net: Net) -> None:
    link = net.connect(TCP_USER_TIMEOUT=1500)
    drop = net.drop(net.b)
    link.a.sendall(b"hello")
    wait_for_timeout(link)
    meet_nobody(net, link.b, drop)


def idle_with_keepalive(net: Net) -> None:
    link = net.connect(TCP_KEEPIDLE=1, TCP_KEEPINTVL=1, TCP_KEEPCNT=2)
    _probe_idle_peer(net, link)


def idle_with_keepalive_by_sysctl(net: Net) -> None:
    _probe_idle_peer(net, net.connect())


def _probe_idle_peer(net: Net, link: Link) -> None:
    drop = net.drop(net.b)
    link.a.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wait_for_timeout(link)
    meet_nobody(net, link.b, drop)


def probe_rebooted_peer(net: Net) -> None:
    link = forget_connection(net, answer_lost=True)
    link.a.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    link.a.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    see_reset(link.a)
    link.b.close()


def fill_the_window(net: Net) -> Link:
    """B does not read; A has more to send, and probes."""
    listener = net.listen()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    link = net.dial(listener)
    link.a.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            link.a.send(bytes(SMALL))
    # Before the first probe, a last bit of the window may still be used.
    eventually(lambda: net.a.counters()["TCPWinProbe"], what="A probes B's window")
    eventually(lambda: net.a.timers() == [ZERO_WINDOW_PROBE], what="A waits for the window")
    return link


def fill_window_then_die(net: Net) -> None:
    link = fill_the_window(net)
    net.step("B reads nothing: its window is closed, A probes it")
    drop = net.drop(net.b)
    link.a.settimeout(15.0)
    wait_for_timeout(link)
    drop.lift()
    net.step("B is there again, reads, and announces its window")
    with fails(ConnectionResetError):
        while link.b.recv(SMALL):
            pass
    link.b.close()


def send_through_own_firewall(net: Net) -> None:
    link = net.connect()
    drop = net.block(net.a)
    link.a.sendall(b"hello")
    wait_for_timeout(link)
    meet_nobody(net, link.b, drop)


def send_to_icmp(net: Net) -> None:
    link = net.connect()
    drop = net.refuse(net.b)
    link.a.sendall(b"hello")
    wait_for_timeout(link, OSError)
    meet_nobody(net, link.b, drop)


def send_to_no_neighbour(net: Net) -> None:
    link = net.connect()
    with held(net.a, net.b, net.family, lost=True):
        net.step("B's link address is unknown and nobody tells it")
        link.a.sendall(b"hello")
        wait_for_timeout(link, OSError)
    net.step("the link address is known again")
    link.b.sendall(b"anyone?")
    see_reset(link.b)


def connect_into_the_void(net: Net) -> None:
    net.drop(net.b)
    end = net.client()
    with fails(TimeoutError):
        end.connect((net.b.addresses[net.family], PORT))
    end.close()


SCENARIOS = (
    Scenario(
        name="data-retries-exhausted",
        claim="The peer is silent: the kernel retransmits data until tcp_retries2, then gives the"
        " connection up without a packet.",
        play=send_into_the_void,
        sysctls={"a": known_by(RTO_MAX, {**FEW_RETRIES, RTO_MAX: 1000}, otherwise=FEW_RETRIES)},
        a=client(
            **timed_out("retransmit-exhausted", states=connected("CLOSE")),
            retransmits={
                "total": at_least(3),
                "fin": 0,
                "backoff": at_least(2),
                "last_rto_ms": known_by(RTO_MAX, 1000, otherwise=at_least(1500)),
            },
            limit=limit("tcp_retries2", 3, 2200, 20_000),
            bytes_unacked=5,
            reset=None,
        ),
        b=server(**LEFT_BEHIND),
        wire={"A>B DATA": at_least(4), **LEFT_ON_THE_WIRE},
        order=("A>B DATA", "A>B DATA", "A>B DATA", "A>B DATA", "B>A DATA", "A>B RST"),
        counters={"a": {"TCPAbortOnTimeout": 1, "OutRsts": 1, "EstabResets": 1}},
        seconds=4,
    ),
    Scenario(
        name="user-timeout",
        claim="TCP_USER_TIMEOUT replaces the number of retries by a time.",
        play=send_into_the_void_with_user_timeout,
        a=client(
            **timed_out("user-timeout", states=connected("CLOSE")),
            limit=limit("TCP_USER_TIMEOUT", 1500, 1400, 20_000),
            bytes_unacked=5,
        ),
        b=server(**LEFT_BEHIND),
        wire={"A>B DATA": at_least(2), **LEFT_ON_THE_WIRE},
        counters={"a": {"TCPAbortOnTimeout": 1}},
        seconds=2,
    ),
    Scenario(
        name="keepalive-expired",
        claim="Keepalive probes of an idle connection stay unanswered; the prober itself sends RST.",
        play=idle_with_keepalive,
        a=client(
            **timed_out("keepalive-expired", states=connected("CLOSE")),
            limit=limit("TCP_KEEPCNT", 2, 1500, 20_000),
            probes={"total": 2, "what": "keepalive"},
            reset=KEEPALIVE_RESET,
            retransmits={"total": 0},
        ),
        b=server(**LEFT_BEHIND),
        # Handshake, two probes.
        wire={"A>B PURE": 3, "A>B RST ACK": 1, **LEFT_ON_THE_WIRE},
        order=("A>B PURE", "A>B PURE", "A>B PURE", "A>B RST ACK", "B>A DATA", "A>B RST !ACK"),
        counters={"a": {"TCPAbortOnTimeout": 1, "TCPKeepAlive": 2}},
        seconds=3,
    ),
    Scenario(
        name="keepalive-expired-sysctl",
        claim="Without socket options the limit is tcp_keepalive_probes.",
        play=idle_with_keepalive_by_sysctl,
        sysctls={
            "a": {"tcp_keepalive_time": 1, "tcp_keepalive_intvl": 1, "tcp_keepalive_probes": 2}
        },
        a=client(
            **timed_out("keepalive-expired", states=connected("CLOSE")),
            limit=limit("tcp_keepalive_probes", 2, 1500, 20_000),
            reset=KEEPALIVE_RESET,
        ),
        b=server(**LEFT_BEHIND),
        wire={"A>B PURE": 3, "A>B RST ACK": 1, **LEFT_ON_THE_WIRE},
        counters={"a": {"TCPAbortOnTimeout": 1, "TCPKeepAlive": 2}},
        seconds=3,
    ),
    Scenario(
        name="keepalive-finds-reboot",
        claim="The peer rebooted while the connection was idle: it answers the keepalive probe with"
        " a bare RST.",
        play=probe_rebooted_peer,
        a=client(**got_reset("peer-lost-state", ack=False, states=connected("CLOSE"))),
        b=server(verdict="abort-admin", closed_by="admin"),
        wire={"B>A RST ACK": 1, "B>A RST !ACK": 1, "A>B RST": 0},
        order=("A>B DATA", "B>A RST ACK", "A>B PURE", "B>A RST !ACK"),
        counters={"a": {"TCPKeepAlive": 1, "EstabResets": 1}, "b": {"OutRsts": 2}},
        seconds=1.5,
    ),
    Scenario(
        name="zero-window-exhausted",
        claim="The receiver stops reading and then vanishes: window probes go unanswered until"
        " tcp_retries2.",
        play=fill_window_then_die,
        sysctls={"a": FEW_RETRIES},
        a=client(
            **timed_out("window-probe-expired", states=connected("CLOSE")),
            limit=limit("tcp_retries2", 3, 1000, 30_000),
            probes={"total": at_least(3), "what": "window"},
            reset=None,
        ),
        b=server(**got_reset("peer-lost-state", ack=False, states=accepted("CLOSE"))),
        wire={"B>A ZERO": at_least(1), "A>B RST !ACK": at_least(1), "FIN": 0},
        order=("A>B DATA", "B>A ZERO", "A>B PURE", "A>B PURE", "A>B RST"),
        counters={"a": {"TCPAbortOnTimeout": 1, "TCPWinProbe": at_least(3)}},
        seconds=6,
    ),
    Scenario(
        name="output-blocked",
        claim="Our own firewall drops what we send: no packet is on the wire, and it looks like loss.",
        play=send_through_own_firewall,
        sysctls={"a": FEW_RETRIES},
        # tcp_sock.bytes_sent counts every attempt.
        a=client(
            **timed_out("output-blocked", states=connected("CLOSE")), bytes_sent=0, bytes_unsent=5
        ),
        b=server(**LEFT_BEHIND),
        wire={"A>B DATA": 0, **LEFT_ON_THE_WIRE},
        counters={"a": {"TCPAbortOnTimeout": 1}},
        seconds=4,
    ),
    Scenario(
        name="icmp-host-unreachable",
        claim="ICMP host unreachable does not end a connection at once, but names the error when the"
        " retries are used up.",
        play=send_to_icmp,
        sysctls={"a": FEW_RETRIES},
        a=client(
            **timed_out("unreachable", states=connected("CLOSE"), error="EHOSTUNREACH"),
            # Nothing shows who sent an error that only stays in sk_err_soft: tcp_ld_RTO_revert() is inlined.
            icmp_from=None,
        ),
        b=server(**LEFT_BEHIND),
        wire={"A>B DATA": at_least(2), "B>A ICMP": at_least(2), **LEFT_ON_THE_WIRE},
        order=("A>B DATA", "B>A ICMP", "A>B DATA", "B>A ICMP"),
        counters={"a": {"TCPAbortOnTimeout": 1}},
        differs={
            "a": {"TCPAbortOnTimeout": Differs(1, 0, "tcp_write_err counts it, whatever the error")}
        },
        seconds=4,
    ),
    Scenario(
        name="no-neighbour",
        claim="Nobody answers for the peer's link address: the same error without a single packet.",
        play=send_to_no_neighbour,
        # The neighbour is given up after three seconds: that must come first.
        sysctls={
            "a": known_by(
                RTO_MAX, {"tcp_retries2": 5, RTO_MAX: 1000}, otherwise={"tcp_retries2": 4}
            )
        },
        a=client(**timed_out("unreachable", states=connected("CLOSE"), error="EHOSTUNREACH")),
        b=server(**LEFT_BEHIND),
        wire={"A>B DATA": 0, **LEFT_ON_THE_WIRE},
        counters={"a": {"TCPAbortOnTimeout": 1}},
        differs={
            "a": {"TCPAbortOnTimeout": Differs(1, 0, "tcp_write_err counts it, whatever the error")}
        },
        seconds=9,
    ),
    Scenario(
        name="connect-timeout",
        claim="The SYN gets no answer: the kernel gives up after tcp_syn_retries.",
        play=connect_into_the_void,
        sysctls={"a": {"tcp_syn_retries": 1}},
        a=client(
            **timed_out("connect-timeout", states=path("SYN_SENT", "CLOSE")),
            duration_ms=between(900, 30_000),
            reset=None,
        ),
        b=None,
        wire={"A>B SYN": at_least(2), "B>A": 0},
        counters={"a": {"AttemptFails": 1, "RetransSegs": at_least(1)}},
        seconds=3.2,
    ),
)
