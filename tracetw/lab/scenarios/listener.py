# SPDX-License-Identifier: Apache-2.0
"""What happens to connections that are not complete: a listener has them, and no socket.

On the client's side they are ordinary lines. On the listener's side there are only events, which take function probes, and
counters.
"""

from __future__ import annotations

import socket
from typing import Any

from tracetw.lab.expect.lines import client, got_reset, server
from tracetw.lab.expect.match import at_least, known_by, path
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.fault import PURE_ACKS, SYN_ACKS
from tracetw.lab.net.host import PORT
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import abort

__all__ = ["SCENARIOS"]

REQUESTS = 2
GAVE_UP: dict[str, Any] = {
    "verdict": "connect-aborted",
    "closed_by": "app",
    "states": path("SYN_SENT", "CLOSE"),
}
RESET = client(**got_reset("peer-reset", ack=True))
ABORTED = server(verdict="abort-linger", closed_by="app")
AT_LISTENER = {"role": "server", "reason": None, "owner_from": "listener", "local": {"port": PORT}}
"""Of an event: whose listener it is."""


def _half_open(net: Net) -> socket.socket:
    """Requests fill B's queue of requests: one more than the backlog of 1, which is too many on every kernel."""
    listener = net.listen(backlog=1)
    drop = net.drop(net.b, PURE_ACKS)
    ends = [net.client() for _ in range(REQUESTS)]
    for end in ends:
        end.connect(net.server)
    eventually(lambda: drop.packets() == REQUESTS, what="B has lost the ACKs of the handshakes")
    drop.lift()
    net.step("B has two connections in SYN_RECV: one more than its backlog")
    return listener


def _abort_all(net: Net, listener: socket.socket, count: int) -> None:
    """Once B has repeated its SYN+ACKs, and what A answered has arrived."""
    for end in [net.keep(listener.accept()[0]) for _ in range(count)]:
        abort(end)


def cookies(net: Net) -> None:
    """The queue of requests is full: B answers the next SYN with a cookie, and keeps nothing of it."""
    listener = _half_open(net)
    late = net.client()
    late.connect(net.server)
    require(net.b.counters()["SyncookiesSent"] == 1, "B has sent no cookie")
    net.step("A connects once more: the SYN+ACK has a cookie")
    _abort_all(net, listener, REQUESTS + 1)


def too_many_requests(net: Net) -> None:
    """The same without SYN cookies: B drops the SYN."""
    listener = _half_open(net)
    late = net.client()
    late.setblocking(False)
    late.connect_ex(net.server)
    eventually(lambda: net.b.counters()["TCPReqQFullDrop"] == 1, what="B has dropped the SYN")
    net.step("A connects once more: B drops the SYN; A gives up")
    late.close()
    _abort_all(net, listener, REQUESTS)


def client_gone(net: Net) -> None:
    """A gives up before the SYN+ACK arrives; a repetition of it is answered with RST."""
    net.listen()
    drop = net.drop(net.a, SYN_ACKS)
    end = net.client()
    end.setblocking(False)
    end.connect_ex(net.server)
    eventually(lambda: drop.packets() == 1, what="A has lost the SYN+ACK")
    end.close()
    drop.lift()
    net.step("A has given up; B repeats its SYN+ACK")
    eventually(lambda: net.b.counters()["EmbryonicRsts"] == 1, what="the end of B's request")


SCENARIOS = (
    Scenario(
        name="syn-cookie",
        claim="More handshakes are under way than the backlog allows: B answers the next SYN with a cookie. With function"
        " probes each is an event with the listener's queue, and SyncookiesSent adds up; the connection is as any other.",
        play=cookies,
        families=(4, 6),
        sysctls={"b": {"tcp_syncookies": 1}},
        a=(RESET,) * 3,
        b=(ABORTED,) * 3,
        events={
            "b": {
                "syn-cookie": known_by(
                    "syn_cookie", {**AT_LISTENER, "queued": 2, "backlog": 1}, otherwise=0
                )
            }
        },
        wire={"A>B SYN": 3, "B>A SYN ACK": at_least(5)},
        counters={"b": {"SyncookiesSent": 1, "ListenDrops": 0}},
        seconds=2,
    ),
    Scenario(
        name="request-queue-full",
        claim="The same without SYN cookies: B drops the SYN without an answer. With a function probe it is an event, and"
        " TCPReqQFullDrop adds up.",
        play=too_many_requests,
        families=(4, 6),
        sysctls={"b": {"tcp_syncookies": 0}},
        a=(client(**GAVE_UP), *(RESET,) * 2),
        b=(ABORTED,) * 2,
        events={
            "b": {
                "request-queue-full": known_by(
                    "listener_dropped", {**AT_LISTENER, "queued": 2, "backlog": 1}, otherwise=0
                )
            }
        },
        wire={"A>B SYN": 3, "B>A SYN ACK": at_least(4)},
        counters={"b": {"TCPReqQFullDrop": 1, "ListenDrops": 1, "SyncookiesSent": 0}},
        seconds=2,
    ),
    Scenario(
        name="client-gone-before-syn-ack",
        claim="A gives up before B's SYN+ACK arrives, and answers its repetition with RST: B's connection in SYN_RECV ends"
        " without a line. With a function probe it is an event, and EmbryonicRsts adds up.",
        play=client_gone,
        families=(4, 6),
        a=client(**GAVE_UP),
        b=None,
        events={
            "b": {
                "embryonic-reset": known_by(
                    "request_reset", {**AT_LISTENER, "queued": 0, "backlog": 16}, otherwise=0
                )
            }
        },
        wire={"A>B SYN": 1, "B>A SYN ACK": 2, "A>B RST": 1},
        counters={"a": {"OutRsts": 1}, "b": {"EmbryonicRsts": 1, "OutRsts": 0}},
        seconds=2,
    ),
)
