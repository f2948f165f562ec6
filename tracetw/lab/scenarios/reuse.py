# SPDX-License-Identifier: Apache-2.0
"""TIME_WAIT that ends before its time because a new connection takes its place."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracetw.lab.expect.lines import (
    LEFT_BEHIND,
    born,
    client,
    connected,
    first,
    got_reset,
    second,
    server,
)
from tracetw.lab.expect.match import ANYTHING, Claim, known_by, path
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.host import PORT, Host
from tracetw.lab.net.peer import Peer
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import close_in_turn, see_reset, talk

__all__ = [
    "LOCAL",
    "LONG_AGO",
    "PAWS_IN_TIME_WAIT",
    "SCENARIOS",
    "SOURCE",
    "STRAY",
    "TW_PAWS",
    "close_by_a",
    "dial",
    "leave_time_wait",
]

SOURCE = 40_000
"""The one port from which A connects."""

YOUNG_S = 57.8
"""With more left of its 60 seconds a TIME_WAIT may not be taken over (tcp_twsk_unique): the kernel
asks for more than a second, some for more than one whole one."""

STRAY = 100
LONG_AGO = 100_000
"""Ticks of TCP's timestamp clock, which are milliseconds."""

TW_PAWS = "TCP_RFC7323_TW_PAWS"
PAWS_IN_TIME_WAIT = {
    "PAWSTimewait": known_by("PAWSTimewait", 1),
    "PAWSEstab": known_by("PAWSTimewait", ANYTHING, otherwise=1),
}
"""What TIME_WAIT refuses had neither a counter nor a drop reason of its own before Linux 6.17."""

TICKS_PER_S = 100
TIME_WAIT = "06"


def dial(net: Net, listener: socket.socket, *, bound: bool, local: str = "") -> Link:
    """A connection from A's port SOURCE: bound to it, or because the kernel has no other."""
    end = net.client()
    # bind() to a port in TIME_WAIT asks both the old socket and the new one for it.
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if bound:
        end.bind((local, SOURCE))
    link = net.dial(listener, end)
    require(link.b.getpeername()[1] == SOURCE, f"B does not see port {SOURCE}")
    return link


def close_by_a(net: Net, link: Link) -> None:
    """A carries TIME_WAIT."""
    talk(link)
    close_in_turn(net, net.a, link.a, link.b)
    eventually(lambda: net.b.states() == [])


def close_by_b(net: Net, link: Link) -> None:
    """B carries TIME_WAIT."""
    talk(link)
    close_in_turn(net, net.b, link.b, link.a)
    eventually(lambda: net.a.states() == [])


def leave_time_wait(net: Net) -> Link:
    """A connection from A's port SOURCE is over, A is in TIME_WAIT."""
    net.a.sysctl(ip_local_port_range=f"{SOURCE} {SOURCE}")
    link = dial(net, net.listen(), bound=False)
    close_by_a(net, link)
    return link


def left_s(host: Host) -> float:
    """Seconds until a host's only TIME_WAIT ends, from its timer in /proc/net/tcp."""
    with host.entered():
        for file in ("tcp", "tcp6"):
            for line in Path("/proc/thread-self/net", file).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == TIME_WAIT:
                    return int(fields[5].split(":")[1], 16) / TICKS_PER_S
    return 0.0


def reuse_by_connect(net: Net) -> None:
    link = leave_time_wait(net)
    eventually(lambda: 0 < left_s(net.a) < YOUNG_S, what="TIME_WAIT is old enough")
    again = dial(net, link.listener, bound=False)
    net.step("A connects again: its only port is in TIME_WAIT and is used all the same")
    close_by_a(net, again)


def reuse_by_bind(net: Net) -> None:
    link = leave_time_wait(net)
    again = dial(net, link.listener, bound=True)
    net.step("A binds to the port in TIME_WAIT and connects, at once and with tcp_tw_reuse 0")
    close_by_a(net, again)


def reuse_refused(net: Net) -> None:
    leave_time_wait(net)
    _refuse(net)


def reuse_refused_when_old(net: Net) -> None:
    leave_time_wait(net)
    eventually(lambda: 0 < left_s(net.a) < YOUNG_S, what="TIME_WAIT is old enough")
    _refuse(net)


def _refuse(net: Net) -> None:
    end = net.client()
    refused = end.connect_ex(net.server)
    end.close()
    require(refused == errno.EADDRNOTAVAIL, f"connect: {errno.errorcode.get(refused, refused)}")
    net.step("A cannot connect again: no port is left (EADDRNOTAVAIL)")
    require(net.a.states() == ["TIME_WAIT"], "A's TIME_WAIT has gone")


def reuse_by_syn(net: Net) -> None:
    listener = net.listen()
    close_by_b(net, dial(net, listener, bound=True))
    again = dial(net, listener, bound=True)
    net.step("A connects again from the same port: its SYN ends B's TIME_WAIT")
    close_by_b(net, again)


def stray_into_reused(net: Net) -> None:
    peer = Peer(net, net.b, net.a)
    link = leave_time_wait(net)
    again = dial(net, link.listener, bound=True)
    talk(again)
    net.step("A has connected again from the port in TIME_WAIT")
    peer.say("RA", ahead=STRAY, age=LONG_AGO)
    eventually(lambda: net.a.counters()["TCPChallengeACK"] == 1, what="A's challenge ACK")
    net.step("an old RST, in A's window but not at its beginning, was challenged")
    peer.say("RA", age=LONG_AGO)
    net.step("an old RST where A expects B's next byte")
    see_reset(again.a)
    again.b.sendall(b"anyone?")
    see_reset(again.b)


TWICE_BY_A: Mapping[str, Any] = {
    "a": (client(**first("fin-4")), client(**first("fin-4"))),
    "b": (server(**second("fin-4")), server(**second("fin-4"))),
}
LOCAL = {"local": {"port": SOURCE}, "remote": {"port": PORT}}

REFUSED: Mapping[str, Any] = {
    "a": (
        client(**first("fin-4")),
        client(
            verdict="connect-failed",
            error="EADDRNOTAVAIL",
            local={"port": 0},
            states=path("SYN_SENT", "CLOSE"),
            closed_by="app",
            reset=None,
            time_wait="none",
            evidence=Claim("no-port", lambda names: "no-port" in names),
        ),
    ),
    "b": server(**second("fin-4")),
    "events": {"a": {"entered": 1, "reused-by-connect": 0}},
    "wire": {"A>B SYN": 1, "RST": 0},
    "counters": {"a": {"TW": born(1), "TWRecycled": 0}},
}

SCENARIOS = (
    Scenario(
        name="time-wait-reused-by-connect",
        claim="With tcp_tw_reuse 1 and timestamps, connect() takes a port in TIME_WAIT when it is older"
        " than a second.",
        play=reuse_by_connect,
        sysctls={"a": {"tcp_tw_reuse": 1}},
        **TWICE_BY_A,
        events={"a": {"entered": 2, "reused-by-connect": LOCAL, "reused-by-syn": 0}},
        wire={"A>B SYN": 2, "A>B FIN": 2, "B>A FIN": 2, "RST": 0},
        counters={"a": {"TW": born(2), "TWRecycled": 1}, "b": {"TW": 0}},
        seconds=2.7,
        timewait={"a": {"sockets": {"time_wait": 1}}},
    ),
    Scenario(
        name="time-wait-reused-by-bind",
        claim="bind() and connect() take a port in TIME_WAIT at once, even with tcp_tw_reuse 0.",
        play=reuse_by_bind,
        sysctls={"a": {"tcp_tw_reuse": 0}},
        **TWICE_BY_A,
        events={"a": {"entered": 2, "reused-by-connect": LOCAL, "reused-by-syn": 0}},
        wire={"A>B SYN": 2, "A>B FIN": 2, "B>A FIN": 2, "RST": 0},
        counters={"a": {"TW": born(2), "TWRecycled": 1}, "b": {"TW": 0}},
        timewait={"a": {"sockets": {"time_wait": 1}}},
    ),
    Scenario(
        name="time-wait-reuse-refused",
        claim="With tcp_tw_reuse 0 connect() fails when all local ports are in TIME_WAIT"
        " (EADDRNOTAVAIL), and no SYN leaves.",
        play=reuse_refused,
        sysctls={"a": {"tcp_tw_reuse": 0}},
        **REFUSED,
        timewait={"a": {"sockets": {"time_wait": 1}, "forecast": {"free": 0, "exhausted_in_s": 0}}},
    ),
    Scenario(
        name="time-wait-reuse-needs-timestamps",
        claim="tcp_tw_reuse 1 is of no use without timestamps: connect() fails however old TIME_WAIT is.",
        play=reuse_refused_when_old,
        sysctls={"a": {"tcp_tw_reuse": 1, "tcp_timestamps": 0}},
        **REFUSED,
        seconds=2.7,
        timewait={"a": {"sockets": {"time_wait": 1}, "forecast": {"free": 0, "exhausted_in_s": 0}}},
    ),
    Scenario(
        name="time-wait-reuse-loopback-only",
        claim="tcp_tw_reuse 2, the default, is for loopback addresses: between two hosts connect() fails"
        " however old TIME_WAIT is.",
        play=reuse_refused_when_old,
        sysctls={"a": {"tcp_tw_reuse": 2}},
        **REFUSED,
        seconds=2.7,
        timewait={"a": {"sockets": {"time_wait": 1}, "forecast": {"free": 0, "exhausted_in_s": 0}}},
    ),
    Scenario(
        name="time-wait-reused-by-syn",
        claim="A new SYN from the same port ends the server's TIME_WAIT, and the listener accepts"
        " it.",
        play=reuse_by_syn,
        a=(client(**second("fin-4")), client(**second("fin-4"))),
        b=(server(**first("fin-4")), server(**first("fin-4"))),
        events={"b": {"entered": 2, "reused-by-syn": {"remote": {"port": SOURCE}}}},
        wire={"A>B SYN": 2, "B>A SYN ACK": 2, "A>B FIN": 2, "B>A FIN": 2, "RST": 0},
        counters={"a": {"TW": 0}, "b": {"TW": born(2)}},
        timewait={"b": {"sockets": {"time_wait": 1}}},
    ),
    Scenario(
        name="stray-reset-reused-port",
        claim="The kernel challenges an old RST on a reused port unless its number is rcv_nxt; then"
        " its old timestamp does not matter (PAWS accepts RST).",
        play=stray_into_reused,
        a=(
            client(**first("fin-4")),
            client(**got_reset(ack=True, states=connected("CLOSE"))),
        ),
        b=(
            server(**second("fin-4")),
            server(**LEFT_BEHIND),
        ),
        events={
            "a": {
                "reused-by-connect": LOCAL,
                "challenge-ack": known_by("TCP_RESET", LOCAL, otherwise=0),
                "paws": 0,
            }
        },
        wire={"B>A RST ACK": 2, "A>B RST !ACK": 1},
        order=("B>A RST", "A>B PURE", "B>A RST", "B>A DATA", "A>B RST"),
        counters={"a": {"TCPChallengeACK": 1, "TWRecycled": 1, "EstabResets": 1, "PAWSEstab": 0}},
    ),
)
