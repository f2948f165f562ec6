# SPDX-License-Identifier: Apache-2.0
"""What happens to connections that are not complete: a listener has them, and no socket.

On the client's side they are ordinary lines. On the listener's side there are only events, which take function probes, and
counters.
"""

from __future__ import annotations

import socket
from typing import Any

from tracetw.lab.expect.lines import ORDERLY, client, got_reset, server
from tracetw.lab.expect.match import ANYTHING, at_least, known_by, path
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.fault import PURE_ACKS, SYN_ACKS, PacketLoss
from tracetw.lab.net.host import PORT
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import abort, close_in_turn, pause, see_reset

__all__ = ["SCENARIOS"]

REQUESTS = 2
REPEATED_S = 1.2
"""After a second a SYN+ACK without an answer is repeated (TCP_TIMEOUT_INIT)."""
SACK, WINDOW_SCALE = 2, 4  # of tcpi_options (TCPI_OPT_SACK, TCPI_OPT_WSCALE)
OPTIONS_AT = 5  # of tcpi_options in struct tcp_info
GAVE_UP: dict[str, Any] = {
    "verdict": "connect-aborted",
    "closed_by": "app",
    "states": path("SYN_SENT", "CLOSE"),
}
RESET = client(**got_reset("peer-reset", ack=True))
ABORTED = server(verdict="abort-linger", closed_by="app")
AT_LISTENER = {"role": "server", "reason": None, "owner_from": "listener", "local": {"port": PORT}}
"""Of an event: whose listener it is."""


def _event(code: str, probe: str, **expected: object) -> dict[str, Any]:
    """One event at B's listener where the kernel has that probe, else none."""
    return {"b": {code: known_by(probe, {**AT_LISTENER, **expected}, otherwise=0)}}


def _half_open(net: Net) -> tuple[socket.socket, PacketLoss]:
    """B has two requests and a backlog of 1, and loses ACKs until that is lifted.

    Only some kernels take a second one with that backlog from the beginning:
    inet_csk_reqsk_queue_is_full() compares by > since Linux kernel commit 3479c7549fb1 ("tcp/dccp: allow a connection when
    sk_max_ack_backlog is zero"), before by >=.
    """
    listener = net.listen()
    drop = net.drop(net.b, PURE_ACKS)
    ends = [net.client() for _ in range(REQUESTS)]
    for end in ends:
        end.connect(net.server)
    eventually(lambda: drop.packets() >= REQUESTS, what="B has lost the ACKs of the handshakes")
    listener.listen(1)
    net.step("B has two connections in SYN_RECV, and from now on a backlog of 1")
    return listener, drop


def _agreed(end: socket.socket) -> int:
    """What both ends announced: window scaling, SACK."""
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, OPTIONS_AT + 1)
    return info[OPTIONS_AT] & (SACK | WINDOW_SCALE)


def _abort_all(net: Net, listener: socket.socket, count: int) -> None:
    """Once B has repeated its SYN+ACKs, and what A answered has arrived."""
    for end in [net.keep(listener.accept()[0]) for _ in range(count)]:
        abort(end)


def cookies(net: Net) -> None:
    """The queue of requests is full: B answers the next SYN with a cookie, and keeps nothing of it."""
    listener, drop = _half_open(net)
    drop.lift()
    late = net.client()
    late.connect(net.server)
    require(net.b.counters()["SyncookiesSent"] == 1, "B has sent no cookie")
    require(
        _agreed(late) == SACK | WINDOW_SCALE, "a cookie with timestamps lost window scaling or SACK"
    )
    net.step("A connects once more: the SYN+ACK has a cookie")
    _abort_all(net, listener, REQUESTS + 1)


def cookie_price(net: Net) -> None:
    """Nobody keeps a request: the ACK of the handshake is lost, and B does nothing until A's data comes."""
    listener = net.listen()
    drop = net.drop(net.b, PURE_ACKS)
    end = net.client()
    end.connect(net.server)
    eventually(lambda: drop.packets() >= 1, what="B has lost the ACK of the handshake")
    require(_agreed(end) == 0, "a cookie without timestamps kept window scaling or SACK")
    pause(REPEATED_S)
    require(net.b.states() == [], "B has kept something of the SYN")
    drop.lift()
    net.step("B has not repeated its SYN+ACK; A sends data")
    end.sendall(b"hello")
    accepted = net.keep(listener.accept()[0])
    require(accepted.recv(100) == b"hello", "B did not receive")
    close_in_turn(net, net.a, end, accepted)


def too_many_requests(net: Net) -> None:
    """The same without SYN cookies: B drops the SYN."""
    listener, drop = _half_open(net)
    late = net.client()
    late.setblocking(False)
    late.connect_ex(net.server)
    eventually(lambda: net.b.counters()["TCPReqQFullDrop"] >= 1, what="B has dropped the SYN")
    net.step("A connects once more: B drops the SYN; A gives up")
    late.close()
    drop.lift()
    _abort_all(net, listener, REQUESTS)


def client_gone(net: Net) -> None:
    """A gives up before the SYN+ACK arrives; a repetition of it is answered with RST."""
    net.listen()
    drop = net.drop(net.a, SYN_ACKS)
    end = net.client()
    end.setblocking(False)
    end.connect_ex(net.server)
    eventually(lambda: drop.packets() >= 1, what="A has lost the SYN+ACK")
    end.close()
    drop.lift()
    net.step("A has given up; B repeats its SYN+ACK")
    eventually(lambda: net.b.counters()["EmbryonicRsts"] == 1, what="the end of B's request")


def _late(net: Net) -> tuple[socket.socket, socket.socket]:
    """A's third connection is in SYN_RECV at B, whose accept queue is full; B gets its ACKs from now on."""
    listener = net.listen()
    for _ in range(REQUESTS):
        net.client().connect(net.server)
    eventually(lambda: net.b.states() == ["ESTABLISHED"] * REQUESTS)
    drop = net.drop(net.b, PURE_ACKS)
    late = net.client()
    late.connect(net.server)
    eventually(lambda: drop.packets() >= 1, what="B has lost the ACK of the handshake")
    listener.listen(1)
    drop.lift()
    net.step("B has accepted neither of two connections, and from now on a backlog of 1")
    return listener, late


def aborted(net: Net) -> None:
    """The accept queue is full when the ACK of a handshake comes: with tcp_abort_on_overflow B answers with RST."""
    listener, late = _late(net)
    see_reset(late)
    _abort_all(net, listener, REQUESTS)


def gave_up_at_full_queue(net: Net) -> None:
    """Without it B ignores the ACK, and it is the client that resets."""
    listener, late = _late(net)
    abort(late)
    eventually(lambda: net.b.counters()["EmbryonicRsts"] == 1, what="the end of B's request")
    _abort_all(net, listener, REQUESTS)


SCENARIOS = (
    Scenario(
        name="syn-cookie",
        claim="More handshakes are under way than the backlog allows: B answers the next SYN with a cookie. With function"
        " probes each is an event with the listener's queue, and SyncookiesSent adds up; the connection is as any other.",
        play=cookies,
        sysctls={"b": {"tcp_syncookies": 1}},
        a=(RESET,) * 3,
        b=(ABORTED,) * 3,
        events=_event("syn-cookie", "syn_cookie", queued=2, backlog=1, cause="requests"),
        wire={"A>B SYN": 3, "B>A SYN ACK": at_least(5)},
        counters={"b": {"SyncookiesSent": 1, "ListenDrops": 0}},
        seconds=2,
    ),
    Scenario(
        name="syn-cookie-ack-lost",
        claim="B answers every SYN with a cookie, and nobody has timestamps: window scaling and SACK are lost. The ACK of the"
        " handshake is lost, too: B has no connection, and repeats nothing, until A's data comes.",
        play=cookie_price,
        sysctls={"a": {"tcp_timestamps": 0}, "b": {"tcp_syncookies": 2}},
        a=client(**ORDERLY, bytes_sent=5, time_wait="local"),
        b=server(verdict="orderly", closed_by="peer", bytes_received=5),
        # Who listens is not what this is about.
        events=_event(
            "syn-cookie", "syn_cookie", queued=0, backlog=16, cause="sysctl", owner_from=ANYTHING
        ),
        wire={"A>B SYN": 1, "B>A SYN ACK": 1, "A>B DATA": at_least(1)},
        counters={"b": {"SyncookiesSent": 1, "SyncookiesRecv": 1}},
        seconds=1.5,
    ),
    Scenario(
        name="request-queue-full",
        claim="The same without SYN cookies: B drops the SYN without an answer. With a function probe it is an event, and"
        " TCPReqQFullDrop adds up.",
        play=too_many_requests,
        sysctls={"b": {"tcp_syncookies": 0}},
        a=(client(**GAVE_UP), *(RESET,) * 2),
        b=(ABORTED,) * 2,
        events=_event("request-queue-full", "listener_dropped", queued=2, backlog=1),
        wire={"A>B SYN": 3, "B>A SYN ACK": at_least(4)},
        counters={"b": {"TCPReqQFullDrop": 1, "ListenDrops": 1, "SyncookiesSent": 0}},
        seconds=2,
    ),
    Scenario(
        name="client-gone-before-syn-ack",
        claim="A gives up before B's SYN+ACK arrives, and answers its repetition with RST: B's connection in SYN_RECV ends"
        " without a line. With a function probe it is an event, and EmbryonicRsts adds up.",
        play=client_gone,
        a=client(**GAVE_UP),
        b=None,
        events=_event("embryonic-reset", "request_reset", queued=0, backlog=16, cause="rst"),
        wire={"A>B SYN": at_least(1), "B>A SYN ACK": at_least(2), "A>B RST": 1},
        counters={"a": {"OutRsts": 1}, "b": {"EmbryonicRsts": 1, "OutRsts": 0}},
        seconds=2,
    ),
    Scenario(
        name="handshake-aborted-by-full-queue",
        claim="With tcp_abort_on_overflow the ACK of a handshake that meets a full accept queue is answered with RST: the same"
        " event as a client that has gone, and its cause tells them apart.",
        play=aborted,
        sysctls={"b": {"tcp_abort_on_overflow": 1}},
        a=(client(verdict="peer-lost-state", closed_by="peer"), *(RESET,) * 2),
        b=(ABORTED,) * 2,
        events=_event("embryonic-reset", "request_reset", queued=2, backlog=1, cause="ack"),
        wire={"A>B SYN": 3, "B>A SYN ACK": at_least(4), "B>A RST": 3},
        counters={"b": {"EmbryonicRsts": 1, "ListenOverflows": 1}},
        seconds=1.5,
    ),
    Scenario(
        name="client-resets-at-full-queue",
        claim="The same without tcp_abort_on_overflow: B ignores the ACK of the handshake, and A, which is connected, resets."
        " The queue is as full, and the cause says that it was A's RST.",
        play=gave_up_at_full_queue,
        sysctls={"b": {"tcp_abort_on_overflow": 0}},
        a=(client(verdict="abort-linger", closed_by="app"), *(RESET,) * 2),
        b=(ABORTED,) * 2,
        events=_event("embryonic-reset", "request_reset", queued=2, backlog=1, cause="rst"),
        wire={"A>B SYN": 3, "A>B RST": 1, "B>A RST": 2},
        counters={"b": {"EmbryonicRsts": 1}},
        seconds=1.5,
    ),
)
