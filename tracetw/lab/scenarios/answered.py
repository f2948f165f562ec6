# SPDX-License-Identifier: Apache-2.0
"""Attempts and time-outs in which somebody answered: refused segments, ICMP, rules of the own host."""

from __future__ import annotations

import errno
import select
import socket
import struct
from typing import Any

from tracetw.lab.expect.lines import (
    client,
    connected,
    says,
    server,
    timed_out,
)
from tracetw.lab.expect.match import ANYTHING, Claim, accepted, at_least, known_by, path
from tracetw.lab.expect.scenario import Differs, Scenario
from tracetw.lab.net.cable import addresses
from tracetw.lab.net.fault import FORWARD, HOST_UNREACHABLE, INPUT, OUTPUT, SYNS, PacketLoss
from tracetw.lab.net.host import PORT, Host
from tracetw.lab.net.peer import Peer
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, fails, require
from tracetw.lab.scenarios.moves import abort, see_reset, wait_for_timeout

__all__ = ["SCENARIOS"]

PORT_UNREACHABLE = "reject with icmpx type port-unreachable"
TCP_MD5SIG = 14
ROUTER = addresses(98, 254)[4]
KEY = b"of both ends"
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
SEND_QUEUE, REPAIR_OFF_NO_PROBE = 2, -1
NUMBER, FAR = 1 << 30, 1 << 20


def connect_without_waiting(net: Net) -> int:
    """Error of a connection attempt by a program that polls, as SO_ERROR tells it."""
    end = net.client()
    end.setblocking(False)
    error = end.connect_ex(net.server)
    if error == errno.EINPROGRESS:
        # select() takes no descriptor above 1,023, and a lab at work holds that many.
        poll = select.poll()
        poll.register(end, select.POLLOUT)
        poll.poll(10_000)
        error = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    net.step(f"A's connection attempt ended with {errno.errorcode.get(error, str(error))}")
    end.close()
    eventually(lambda: net.a.states() == [])
    return error


def connect_and_wait(net: Net) -> int:
    """Error of a connection attempt by a program that waits in connect()."""
    end = net.client()
    end.settimeout(None)
    error = end.connect_ex(net.server)
    net.step(f"A's connection attempt ended with {errno.errorcode.get(error, str(error))}")
    end.close()
    return error


def unreachable_at_once(net: Net) -> None:
    net.refuse(net.b)
    require(connect_and_wait(net) == errno.EHOSTUNREACH, "another error than EHOSTUNREACH")


def rejected_by_router(net: Net) -> None:
    with PacketLoss(net.r, SYNS, hook=FORWARD, verdict=HOST_UNREACHABLE):
        require(connect_and_wait(net) == errno.EHOSTUNREACH, "another error than EHOSTUNREACH")


def refused_by_icmp(net: Net) -> None:
    with PacketLoss(net.b, hook=INPUT, verdict=PORT_UNREACHABLE):
        require(connect_and_wait(net) == errno.ECONNREFUSED, "another error than ECONNREFUSED")


def rejected_by_own_rule(net: Net) -> None:
    with PacketLoss(net.a, SYNS, hook=OUTPUT, verdict=HOST_UNREACHABLE):
        require(
            connect_without_waiting(net) == errno.EHOSTUNREACH, "another error than EHOSTUNREACH"
        )


def no_route_for_the_port(net: Net) -> None:
    """The rule matches only once the local port is chosen (ip_route_newports)."""
    # By its number: names are those of /etc/protocols, which not every system has.
    ports = ("ipproto", str(socket.IPPROTO_TCP), "sport", "1024-65534", "dport", str(PORT))
    net.a.run("ip", "rule", "add", *ports, "prohibit", "prio", "10")
    require(connect_without_waiting(net) == errno.EACCES, "another error than EACCES")


def route_taken_away(net: Net) -> None:
    """A's SYN gets no answer, and the repetition finds no route (inet_sk_rebuild_header)."""
    net.drop(net.b, SYNS)
    end = net.client(TCP_USER_TIMEOUT=600)
    end.setblocking(False)
    require(end.connect_ex(net.server) == errno.EINPROGRESS, "an error at once")
    eventually(lambda: net.a.states() == ["SYN_SENT"])
    net.a.run("ip", "route", "add", "blackhole", net.server[0], "metric", "1")
    net.step("A's SYN was lost, and now A's routes lead B's address into a black hole")
    # To read SO_ERROR now would take the error of the routes (sk_err_soft) away from the timer.
    eventually(lambda: net.a.states() == [])
    found = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    require(found == errno.EINVAL, "another error than EINVAL")
    end.close()


def dropped_by_own_rule(net: Net) -> None:
    """The near miss: nothing tells A; its application gives up."""
    with PacketLoss(net.a, SYNS, hook=OUTPUT):
        end = net.client()
        end.setblocking(False)
        require(end.connect_ex(net.server) == errno.EINPROGRESS, "an error at once")
        eventually(lambda: net.a.states() == ["SYN_SENT"])
        end.close()
        eventually(lambda: net.a.states() == [])


def connect_into_time_wait(net: Net) -> None:
    """B's TIME_WAIT answers A's SYN with an ACK, since the SYN's number is an old one."""
    listener = net.listen()
    first = net.client()
    _begin_at(first, NUMBER)
    link = net.dial(listener, first)
    port = link.a.getsockname()[1]
    link.b.close()
    eventually(lambda: net.b.states() == ["FIN_WAIT2"])
    link.a.close()
    eventually(lambda: net.b.states() == ["TIME_WAIT"])
    net.step("B is in TIME_WAIT, far ahead of where A's next connection begins")
    end = net.client()
    _begin_at(end, NUMBER - FAR)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end.bind((net.a.addresses[net.family], port))
    with fails(TimeoutError):
        end.connect(net.server)
    end.close()
    require(net.b.states() == ["TIME_WAIT"], "B's TIME_WAIT has gone")


def _begin_at(end: socket.socket, number: int) -> None:
    """Its SYN has this number: ``tcp_v4_connect`` takes a random one only where ``write_seq`` is 0."""
    end.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    end.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
    end.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, number)
    end.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_NO_PROBE)


def _sign(end: socket.socket, host: Host, family: int) -> None:
    """Segments to and from this host are signed (RFC 2385)."""
    if family == 4:  # noqa: PLR2004
        name = struct.pack(
            "=HH4s", socket.AF_INET, 0, socket.inet_pton(socket.AF_INET, host.addresses[4])
        )
    else:
        packed = socket.inet_pton(socket.AF_INET6, host.addresses[6])
        name = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, packed, 0)
    option = struct.pack("=128sBBHi80s", name, 0, 0, len(KEY), 0, KEY)
    end.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, option)


def _connect_signed(net: Net) -> Link:
    listener, end = net.listen(), net.client()
    _sign(listener, net.a, net.family)
    _sign(end, net.b, net.family)
    return net.dial(listener, end)


def unsigned_resets(net: Net) -> None:
    """What a box on the way sends in B's name has no signature."""
    box = Peer(net, net.b, net.a)
    link = _connect_signed(net)
    drop = net.drop(net.b)
    link.a.sendall(b"hello")
    for _ in range(2):
        box.say("R")
    net.step("B receives nothing; two RSTs in its name come without a signature")
    wait_for_timeout(link)
    drop.lift()
    abort(link.b)


def signed_and_heard(net: Net) -> None:
    """The near miss: B has the key, and its RST is accepted."""
    link = _connect_signed(net)
    abort(link.b)
    see_reset(link.a)


def without_md5() -> str | None:
    """Whether the kernel signs segments."""
    with socket.socket() as end:
        try:
            end.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, bytes(216))
        except OSError as error:
            return None if error.errno == errno.EINVAL else f"no TCP_MD5SIG: {error}"
    return None


BY_ICMP: dict[str, Any] = {
    "closed_by": "icmp",
    "form": None,
    "first_close": "none",
    "states": path("SYN_SENT", "CLOSE"),
    "limit": None,
    "confidence": "proven",
}
FAILED_AT_ONCE = Claim("ms", lambda value: value is not None and value < 15_000)  # noqa: PLR2004

SCENARIOS = (
    Scenario(
        name="icmp-while-connecting",
        claim="An ICMP error ends a connection attempt at once, unless the socket is in use: no limit ran out.",
        play=unreachable_at_once,
        a=client(
            **{**BY_ICMP, "verdict": "unreachable", "error": "EHOSTUNREACH"},
            duration_ms=FAILED_AT_ONCE,
            why=says("ICMP"),
        ),
        b=None,
        wire={"A>B SYN": 2, "B>A ICMP": 2, "RST": 0},
        counters={"a": {"AttemptFails": 1, "TCPAbortOnTimeout": 0}},
    ),
    Scenario(
        name="icmp-of-a-router",
        claim="A router answers A's SYN with an ICMP error: B received nothing, and the error has the router's"
        " address.",
        play=rejected_by_router,
        families=(4,),
        nat=True,
        a=client(
            **{**BY_ICMP, "verdict": "unreachable", "error": "EHOSTUNREACH"},
            icmp_from=known_by("icmp_error", ROUTER),
            why=known_by(
                "icmp_error",
                says("ICMP", f"came from {ROUTER}."),
                otherwise=says("ICMP", without=("came from",)),
            ),
        ),
        b=None,
        # The cable at B.
        wire={"A>B SYN": 0},
        counters={"a": {"AttemptFails": 1, "TCPAbortOnTimeout": 0}},
    ),
    Scenario(
        name="connect-refused-by-icmp",
        claim="ICMP port unreachable refuses a connection attempt: the error is that of a RST, and there is none.",
        play=refused_by_icmp,
        a=client(
            **{**BY_ICMP, "verdict": "connect-refused", "error": "ECONNREFUSED"},
            reset=None,
            why=says("ICMP"),
        ),
        b=None,
        wire={"A>B SYN": 2, "B>A ICMP": 2, "RST": 0},
        counters={"a": {"AttemptFails": 1}},
    ),
    Scenario(
        name="connect-rejected-by-own-rule",
        claim="A rule of A's own firewall rejects the SYN: a program that polls gets the error, though the kernel"
        " goes on trying.",
        play=rejected_by_own_rule,
        a=client(
            **{**BY_ICMP, "verdict": "unreachable", "error": "EHOSTUNREACH"},
            why=says("EHOSTUNREACH", "an ICMP error reported"),
        ),
        b=None,
        wire={"A>B SYN": 0},
        counters={"a": {"TCPAbortOnTimeout": 0}},
    ),
    Scenario(
        name="connect-dropped-by-own-rule",
        claim="A rule of A's own firewall drops the SYN in silence: nobody tells the program, which gives up.",
        play=dropped_by_own_rule,
        a=client(
            verdict="connect-aborted", closed_by="app", error=None, states=path("SYN_SENT", "CLOSE")
        ),
        b=None,
        wire={"A>B SYN": 0},
        counters={"a": {"TCPAbortOnTimeout": 0}},
    ),
    Scenario(
        name="connect-without-route",
        claim="A routing rule prohibits the port: connect() fails with EACCES before a SYN is made.",
        play=no_route_for_the_port,
        families=(4,),
        a=client(
            verdict="connect-failed",
            closed_by="app",
            error=None,
            states=path("SYN_SENT", "CLOSE"),
            why=says("before a SYN was made"),
        ),
        b=None,
        wire={"A>B SYN": 0},
        counters={"a": {"AttemptFails": 0, "OutRsts": 0}},
    ),
    Scenario(
        name="connect-loses-its-route",
        claim="A's SYN gets no answer, then A has no route any more: the error is that of the routes (EINVAL, which no"
        " ICMP error gives), and a timer reports it.",
        play=route_taken_away,
        a=client(
            **timed_out("unreachable", states=path("SYN_SENT", "CLOSE"), error="EINVAL"),
            icmp_from=None,
            why=says("EINVAL", "routes of this host", without=("reported",)),
        ),
        b=None,
        wire={"A>B SYN": 1, "ICMP": 0, "RST": 0},
        counters={"a": {"TCPAbortOnTimeout": 1}},
        differs={
            "a": {"TCPAbortOnTimeout": Differs(1, 0, "tcp_write_err counts it, whatever the error")}
        },
        seconds=1.5,
    ),
    Scenario(
        name="connect-meets-time-wait",
        claim="B's TIME_WAIT answers A's SYN with an ACK, A's kernel resets that, and TIME_WAIT stays"
        " (tcp_rfc1337): a time-out, but not without an answer.",
        play=connect_into_time_wait,
        sysctls={
            "a": {"tcp_timestamps": 0, "tcp_syn_retries": 1},
            "b": {"tcp_rfc1337": 1, "tcp_timestamps": 0},
        },
        a=(
            client(verdict="orderly"),
            client(
                **timed_out("connect-timeout", states=path("SYN_SENT", "CLOSE")),
                why=says("came", "refused", without=("answer",)),
            ),
        ),
        b=server(verdict="orderly", time_wait="local"),
        events={"b": {"killed-by-reset": 0}},
        # Of two SYNs that follow each other at once, TIME_WAIT answers one (tcp_timewait_check_oow_rate_limit).
        wire={"A>B SYN": at_least(3), "A>B RST": at_least(1), "B>A PURE": at_least(2)},
        counters={"a": {"AttemptFails": 1, "OutRsts": at_least(1)}},
        seconds=4,
    ),
    Scenario(
        name="md5-unsigned-resets",
        claim="RSTs without a TCP-MD5 signature are refused: A retransmits until tcp_retries2, but not without an"
        " answer.",
        play=unsigned_resets,
        sysctls={"a": {"tcp_retries2": 2}},
        a=client(
            **timed_out("retransmit-exhausted", states=connected("CLOSE")),
            reset=None,
            refused=known_by(
                "drop-socket", {"segments": 2, "reason": "TCP_MD5NOTFOUND"}, otherwise=None
            ),
            why=known_by(
                "drop-socket",
                says("refused", "TCP_MD5NOTFOUND", without=("answer",)),
                otherwise=says(without=("answer",)),
            ),
        ),
        b=server(verdict="abort-linger"),
        events={"a": {"signature-failure": known_by("drop-socket", 2, otherwise=ANYTHING)}},
        wire={"A>B DATA": at_least(3), "B>A RST !ACK": 2},
        counters={"a": {"TCPMD5NotFound": 2, "TCPAbortOnTimeout": 1}},
        seconds=4,
        needs=without_md5,
    ),
    Scenario(
        name="md5-signed-reset",
        claim="B has its TCP-MD5 key: the RST is signed and ends the connection.",
        play=signed_and_heard,
        a=client(verdict="peer-reset", error="ECONNRESET", states=connected("CLOSE"), refused=None),
        b=server(verdict="abort-linger", states=accepted("CLOSE")),
        events={"a": {"signature-failure": 0}},
        wire={"B>A RST ACK": 1},
        counters={"a": {"TCPMD5NotFound": 0, "EstabResets": 1}},
        needs=without_md5,
    ),
)
