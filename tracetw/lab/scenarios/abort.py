# SPDX-License-Identifier: Apache-2.0
"""Connections that a RST ended: who sent it and why, and what the other end can know of that."""

from __future__ import annotations

import socket
from typing import Any

from tracetw.lab.expect.lines import client, connected, got_reset, says, sent_reset, server
from tracetw.lab.expect.match import accepted, one_of, path
from tracetw.lab.expect.scenario import Differs, Scenario
from tracetw.lab.net.host import PORT
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, fails, require
from tracetw.lab.scenarios.moves import (
    abort,
    forget_connection,
    leave_unread,
    see_hang_up,
    see_reset,
)

__all__ = ["SCENARIOS"]

TCP_REPAIR = 19
BACKLOG = 2
RESET_WITH_ACK = {"B>A RST": 0, "A>B RST ACK": 1, "FIN": 0}

RESET_AT_ONCE: dict[str, Any] = {
    "states": accepted("CLOSE"),
    "retransmits": {"total": 0, "fin": 0},
}
# A reset that meets CLOSE_WAIT shows as EPIPE (tcp_reset).
RESET_AFTER_FIN: dict[str, Any] = {"states": accepted("CLOSE_WAIT", "CLOSE"), "error": "EPIPE"}
ADMIN: dict[str, Any] = {
    **sent_reset("abort-admin", "TCP_STATE", states=accepted("CLOSE")),
    "first_close": "none",
    "closed_by": "admin",
    "error": "ECONNABORTED",
}


def linger_0(net: Net) -> None:
    link = net.connect()
    abort(link.a)
    see_reset(link.b)


def linger2_negative(net: Net) -> None:
    link = net.connect(TCP_LINGER2=-1)
    link.a.close()
    see_hang_up(link.b)


def linger2_negative_in_close(net: Net) -> None:
    link = net.connect(TCP_LINGER2=-1)
    link.a.shutdown(socket.SHUT_WR)
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.step("A has shut down its direction and closes in FIN_WAIT2")
    link.a.close()
    see_hang_up(link.b)


def unread(net: Net) -> None:
    link = leave_unread(net)
    net.step("B's data waits in A's queue; A closes")
    link.a.close()
    see_reset(link.b)


def late_data_for_timewait_socket(net: Net) -> None:
    link = net.connect()
    link.a.close()
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.step("A has closed; B sends")
    link.b.sendall(b"hello")
    see_hang_up(link.b)
    require(net.a.states() == [], "A still has the connection")


def late_data_for_full_socket(net: Net) -> None:
    link = net.connect()
    link.a.shutdown(socket.SHUT_RDWR)
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.step("A has shut down both directions; B sends")
    link.b.sendall(b"hello")
    see_hang_up(link.b)
    link.a.close()


def admin(net: Net) -> None:
    link = forget_connection(net, answer_lost=False)
    see_reset(link.a)
    link.b.close()


def send_to_rebooted(net: Net) -> None:
    link = forget_connection(net, answer_lost=True)
    link.a.sendall(b"again")
    see_reset(link.a)
    link.b.close()


def send_to_rebooted_without_service(net: Net) -> None:
    link = forget_connection(net, answer_lost=True)
    link.listener.close()
    link.a.sendall(b"again")
    see_reset(link.a)
    link.b.close()


def close_full_listener(net: Net) -> None:
    listener = net.listen(backlog=BACKLOG)
    waiting = [net.client() for _ in range(BACKLOG + 1)]
    for end in waiting:
        end.connect(net.server)
    eventually(lambda: net.b.states() == ["ESTABLISHED"] * len(waiting))
    net.step("the accept queue is full; the listener closes")
    listener.close()
    for end in waiting:
        see_reset(end)


def repair(net: Net) -> None:
    link = net.connect()
    link.a.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    link.a.close()
    require(net.a.states() == [], "A still has the connection")
    net.step("A's socket was in repair mode and is gone without a segment; B sends")
    link.b.sendall(b"anyone?")
    see_reset(link.b)


def refused(net: Net) -> None:
    end = net.client()
    with fails(ConnectionRefusedError):
        end.connect((net.b.addresses[net.family], PORT))
    end.close()


SCENARIOS = (
    Scenario(
        name="linger-0",
        claim="close() with SO_LINGER 0 throws the connection away: RST instead of FIN.",
        play=linger_0,
        a=client(
            **sent_reset("abort-linger", "TCP_STATE", "TCP_ABORT_ON_LINGER"),
            states=connected("CLOSE"),
            owner_from="close",
        ),
        # The peer's own RST came the way of the handshake: nothing to say of it.
        b=server(
            **got_reset(ack=True, **RESET_AT_ONCE),
            ttl=one_of(64, None),
            why=says(without=("TTL",)),
        ),
        wire=RESET_WITH_ACK,
        counters={
            "a": {"OutRsts": 1, "TCPAbortOnData": 1, "TCPAbortOnLinger": 0, "EstabResets": 1},
            "b": {"OutRsts": 0, "EstabResets": 1},
        },
    ),
    Scenario(
        name="linger2-negative",
        claim="With TCP_LINGER2 below 0 there is no FIN_WAIT2: the kernel answers the ACK of the"
        " FIN with RST.",
        play=linger2_negative,
        a=client(
            **sent_reset("abort-linger", "TCP_ABORT_ON_DATA"),
            states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
            owner_from="close",
        ),
        b=server(**{**got_reset(ack=False), **RESET_AFTER_FIN}),
        wire={"A>B FIN": 1, "A>B RST": 1, "B>A RST": 0},
        order=("A>B FIN", "B>A PURE", "A>B RST"),
        counters={"a": {"OutRsts": 1, "TCPAbortOnData": 1}},
    ),
    Scenario(
        name="linger2-negative-in-close",
        claim="With TCP_LINGER2 below 0 and close() in FIN_WAIT2, close() itself sends the RST.",
        play=linger2_negative_in_close,
        a=client(
            **sent_reset("abort-linger", "TCP_ABORT_ON_LINGER"),
            states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
            owner_from="close",
        ),
        b=server(**{**got_reset(ack=True), **RESET_AFTER_FIN}),
        wire={"A>B FIN": 1, "A>B RST": 1, "B>A RST": 0},
        order=("A>B FIN", "B>A PURE", "A>B RST"),
        counters={"a": {"OutRsts": 1, "TCPAbortOnLinger": 1, "TCPAbortOnData": 0}},
        differs={
            "a": {
                "TCPAbortOnData": Differs(
                    0, 1, "__tcp_close in FIN_WAIT2 counts TCP_LINGER2 below 0 as TCPAbortOnLinger"
                )
            }
        },
    ),
    Scenario(
        name="close-with-unread-data",
        claim="close() with unread data in the receive queue sends RST instead of FIN.",
        play=unread,
        a=client(
            **sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE", states=connected("CLOSE")),
            owner_from="close",
            bytes_unread=5,
            bytes_received=5,
        ),
        b=server(**got_reset(ack=True, **RESET_AT_ONCE), bytes_sent=5),
        wire=RESET_WITH_ACK,
        order=("B>A DATA", "A>B RST"),
        counters={"a": {"OutRsts": 1, "TCPAbortOnClose": 1}},
    ),
    Scenario(
        name="late-data-closed-socket",
        claim="The timewait socket in FIN_WAIT2, all that is left of a closed socket, answers data"
        " with RST.",
        play=late_data_for_timewait_socket,
        a=client(
            **sent_reset("abort-late-data", "TCP_TIMEWAIT_SOCKET"),
            states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
            owner_from="close",
            error=None,
        ),
        b=server(**{**got_reset(ack=False), **RESET_AFTER_FIN}),
        events={"a": {"fin-wait2": 1, "entered": 0}},
        wire={"A>B FIN": 1, "A>B RST": 1, "B>A RST": 0},
        order=("A>B FIN", "B>A DATA", "A>B RST"),
        counters={
            "a": {"OutRsts": 1, "TCPAbortOnData": 0, "EstabResets": 0},
            "b": {"EstabResets": 1},
        },
        differs={
            "a": {
                "TCPAbortOnData": Differs(
                    0, 1, "tcp_timewait_state_process answers: no socket is left to be aborted"
                ),
                "TW": Differs(
                    1,
                    0,
                    "tcp_time_wait counts the timewait socket in FIN_WAIT2 like one in TIME_WAIT",
                ),
            }
        },
    ),
    Scenario(
        name="late-data-shut-socket",
        claim="shutdown(SHUT_RDWR) without close(): the full socket itself answers late data with RST.",
        play=late_data_for_full_socket,
        a=client(
            **sent_reset("abort-late-data", "TCP_ABORT_ON_DATA"),
            states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
        ),
        b=server(**{**got_reset(ack=False), **RESET_AFTER_FIN}),
        wire={"A>B FIN": 1, "A>B RST": 1, "B>A RST": 0},
        order=("A>B FIN", "B>A DATA", "A>B RST"),
        counters={"a": {"OutRsts": 1, "TCPAbortOnData": 1}, "b": {"EstabResets": 1}},
    ),
    Scenario(
        name="killed-by-admin",
        claim="ss -K destroys the socket under the application and sends RST.",
        play=admin,
        a=client(**got_reset(ack=True, states=connected("CLOSE"))),
        b=server(**ADMIN),
        wire={"B>A RST ACK": 1, "A>B RST": 0, "FIN": 0},
        counters={"b": {"OutRsts": 1, "EstabResets": 1}},
    ),
    Scenario(
        name="data-to-rebooted-peer",
        claim="The peer rebooted and its service is back: the listener answers our data with a bare"
        " RST.",
        play=send_to_rebooted,
        a=client(**got_reset("peer-lost-state", ack=False, states=connected("CLOSE"))),
        b=server(**ADMIN),
        wire={"B>A RST": 2, "B>A RST !ACK": 1, "A>B RST": 0},
        order=("B>A RST ACK", "A>B DATA", "B>A RST !ACK"),
        counters={"a": {"EstabResets": 1}, "b": {"OutRsts": 2}},
    ),
    Scenario(
        name="data-to-rebooted-peer-no-service",
        claim="The peer rebooted and its service is not back: no socket matches, a bare RST as well.",
        play=send_to_rebooted_without_service,
        a=client(**got_reset("peer-lost-state", ack=False, states=connected("CLOSE"))),
        b=server(**ADMIN),
        wire={"B>A RST": 2, "B>A RST !ACK": 1, "A>B RST": 0},
        order=("B>A RST ACK", "A>B DATA", "B>A RST !ACK"),
        counters={"a": {"EstabResets": 1}, "b": {"OutRsts": 2}},
    ),
    Scenario(
        name="listener-closed-queue-full",
        claim="A listener that closes resets every connection that no process accepted.",
        play=close_full_listener,
        a=(client(**got_reset(ack=True, states=connected("CLOSE"))),) * (BACKLOG + 1),
        b=(server(**sent_reset("abort-listener", "TCP_STATE", states=accepted("CLOSE"))),)
        * (BACKLOG + 1),
        wire={"B>A RST ACK": BACKLOG + 1, "FIN": 0},
        counters={"b": {"OutRsts": BACKLOG + 1, "EstabResets": BACKLOG + 1}},
    ),
    Scenario(
        name="repair-mode",
        claim="A socket that moves to another host (TCP_REPAIR) ends without a segment: no verdict"
        " fits, and tracetw invents none.",
        play=repair,
        a=client(verdict="undetermined", reset=None, states=connected("CLOSE")),
        b=server(**got_reset("peer-lost-state", ack=False, states=accepted("CLOSE"))),
        wire={"A>B RST !ACK": 1, "FIN": 0, "B>A RST": 0},
        counters={"a": {"OutRsts": 1, "EstabResets": 1}},
    ),
    Scenario(
        name="connect-refused",
        claim="Nobody listens: the peer answers the SYN with RST.",
        play=refused,
        a=client(
            verdict="connect-refused",
            form="rst-received",
            closed_by="peer",
            error="ECONNREFUSED",
            time_wait="none",
            states=path("SYN_SENT", "CLOSE"),
            reset={"direction": "received"},
        ),
        b=None,
        wire={"A>B SYN": 1, "B>A RST ACK": 1},
        counters={"a": {"AttemptFails": 1}, "b": {"OutRsts": 1}},
    ),
)
