# SPDX-License-Identifier: Apache-2.0
"""connect(AF_UNSPEC): a connection dissolved on a socket that lives on."""

from __future__ import annotations

import ctypes
import socket
import struct

from tracetw.lab.expect.lines import (
    FORGETS,
    client,
    connected,
    got_reset,
    limit,
    sent_reset,
    server,
)
from tracetw.lab.expect.match import accepted
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.fault import FINS
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import LINGER_0, leave_unread, see_hang_up, see_reset

__all__ = ["SCENARIOS"]

AF_UNSPEC = struct.pack("H14x", socket.AF_UNSPEC)

_libc = ctypes.CDLL(None, use_errno=True)


def dissolve(end: socket.socket) -> None:
    result = _libc.connect(end.fileno(), AF_UNSPEC, len(AF_UNSPEC))
    require(result == 0, "connect(AF_UNSPEC) failed")


def disconnect(net: Net) -> None:
    link = leave_unread(net)
    dissolve(link.a)
    see_reset(link.b)
    link.a.close()


def disconnect_after_shutdown(net: Net) -> None:
    link = leave_unread(net)
    link.a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    link.a.shutdown(socket.SHUT_RDWR)
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.step(
        "all that tells close() but close() itself: shut down both ways, data unread, SO_LINGER 0"
    )
    dissolve(link.a)
    see_hang_up(link.b)
    link.a.close()


def disconnect_before_last_ack(net: Net) -> None:
    link = net.connect()
    link.b.close()
    eventually(lambda: net.a.states() == ["CLOSE_WAIT"])
    lost = net.drop(net.b, FINS)
    link.a.shutdown(socket.SHUT_RDWR)
    eventually(lost.packets, what="A's FIN was lost")
    net.step("A waits for the ACK of its FIN")
    dissolve(link.a)
    link.a.close()
    eventually(lambda: net.b.states() == [], 30)


SCENARIOS = (
    Scenario(
        name="disconnect",
        claim="connect(AF_UNSPEC) dissolves the connection with RST; the socket lives on.",
        play=disconnect,
        a=client(**sent_reset("abort-disconnect", "TCP_STATE", "TCP_DISCONNECT_WITH_DATA")),
        b=server(**got_reset(ack=True, states=accepted("CLOSE"))),
        wire={"B>A RST": 0, "A>B RST ACK": 1, "FIN": 0},
        counters={"a": {"OutRsts": 1, "EstabResets": 1}},
    ),
    Scenario(
        name="disconnect-after-shutdown",
        claim="tracetw does not mistake connect(AF_UNSPEC) after shutdown(SHUT_RDWR) for close().",
        play=disconnect_after_shutdown,
        a=client(
            **sent_reset("abort-disconnect", "TCP_STATE"),
            states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
        ),
        # A reset that meets CLOSE_WAIT shows as EPIPE (tcp_reset).
        b=server(**got_reset(ack=True, states=accepted("CLOSE_WAIT", "CLOSE"), error="EPIPE")),
        wire={"A>B FIN": 1, "A>B RST ACK": 1, "B>A FIN": 0, "B>A RST": 0},
        counters={"a": {"OutRsts": 1, "EstabResets": 0}, "b": {"EstabResets": 1}},
    ),
    Scenario(
        name="disconnect-before-last-ack",
        claim="connect(AF_UNSPEC) in LAST_ACK ends the connection without RST; tracetw does not"
        " mistake it for the last ACK.",
        play=disconnect_before_last_ack,
        a=client(
            verdict="abort-disconnect",
            confidence="proven",
            reset=None,
            states=connected("CLOSE_WAIT", "LAST_ACK", "CLOSE"),
        ),
        sysctls={"b": {"tcp_fin_timeout": 1}},
        b=server(
            **{**FORGETS, "states": accepted("FIN_WAIT1", "FIN_WAIT2", "CLOSE")},
            limit=limit("tcp_fin_timeout", 1, 900, 20_000),
        ),
        wire={"B>A FIN": 1, "A>B RST": 0},
        counters={"a": {"OutRsts": 0}},
        seconds=1.2,
    ),
)
