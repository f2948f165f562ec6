# SPDX-License-Identifier: Apache-2.0
"""Connections that a RST ended: who sent it and why, and what the other end can know of that."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Any

import pytest

from tests.kernel.kit.expect import accepted, path
from tests.kernel.kit.faults import RESETS
from tests.kernel.kit.host import PORT
from tests.kernel.kit.lines import client, connected, got_reset, sent_reset, server
from tests.kernel.kit.polling import eventually
from tests.kernel.kit.stage import Registry, Scenario, Stage
from tests.kernel.kit.topology import Link, Pair

SCENARIOS = Registry()

LINGER_0 = struct.pack("ii", 1, 0)
AF_UNSPEC = struct.pack("H14x", socket.AF_UNSPEC)

RESET_AT_ONCE: dict[str, Any] = {
    "states": accepted("CLOSE"),
    "retransmits": {"total": 0, "fin": 0},
}
# A reset that meets CLOSE_WAIT shows as EPIPE (tcp_reset).
RESET_AFTER_FIN: dict[str, Any] = {"states": accepted("CLOSE_WAIT", "CLOSE"), "error": "EPIPE"}

_libc = ctypes.CDLL(None, use_errno=True)


def see_reset(end: socket.socket) -> None:
    """The application learns of the reset, then closes."""
    with pytest.raises(ConnectionResetError):
        end.recv(100)
    end.close()


def see_hang_up(end: socket.socket) -> None:
    """As :func:`see_reset` for an end that had read the peer's FIN before."""
    eventually(lambda: end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 32)
    end.close()


@SCENARIOS.add(
    a=client(
        **sent_reset("abort-linger", "TCP_STATE", "TCP_ABORT_ON_LINGER", states=connected("CLOSE")),
        owner_from="close",
    ),
    b=server(**got_reset(ack=True, **RESET_AT_ONCE)),
    counted_a={"OutRsts": 1, "TCPAbortOnData": 1, "EstabResets": 1},
    counted_b={"OutRsts": 0, "EstabResets": 1},
)
def linger_0(pair: Pair) -> None:
    link = pair.connect()
    link.a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    link.a.close()
    see_reset(link.b)


@SCENARIOS.add(
    a=client(6, **sent_reset("abort-linger", "TCP_STATE"), owner_from="close"),
    b=server(6, **got_reset(ack=True, **RESET_AT_ONCE)),
    counted_a={"OutRsts": 1, "TCPAbortOnData": 1},
)
def linger_0_v6(pair: Pair) -> None:
    link = pair.connect(6)
    link.a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    link.a.close()
    see_reset(link.b)


@SCENARIOS.add(
    a=client(
        **sent_reset("abort-linger", "TCP_ABORT_ON_DATA"),
        states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
        owner_from="close",
    ),
    b=server(**{**got_reset(), **RESET_AFTER_FIN}),
    counted_a={"OutRsts": 1, "TCPAbortOnData": 1},
)
def linger2_negative(pair: Pair) -> None:
    """No FIN_WAIT2 allowed: the ACK of the FIN is answered with a RST."""
    link = pair.connect(TCP_LINGER2=-1)
    link.a.close()
    see_hang_up(link.b)


@SCENARIOS.add(
    a=client(
        **sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE", states=connected("CLOSE")),
        owner_from="close",
        bytes_unread=5,
        bytes_received=5,
    ),
    b=server(**got_reset(ack=True, **RESET_AT_ONCE), bytes_sent=5),
    counted_a={"OutRsts": 1, "TCPAbortOnClose": 1},
)
def unread(pair: Pair) -> None:
    link = pair.connect()
    link.b.sendall(b"hello")
    assert link.a.recv(100, socket.MSG_PEEK) == b"hello"
    link.a.close()
    see_reset(link.b)


@SCENARIOS.add(
    a=client(6, **sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE"), bytes_unread=5),
    b=server(6, **got_reset(ack=True, **RESET_AT_ONCE)),
    counted_a={"OutRsts": 1, "TCPAbortOnClose": 1},
)
def unread_v6(pair: Pair) -> None:
    link = pair.connect(6)
    link.b.sendall(b"hello")
    assert link.a.recv(100, socket.MSG_PEEK) == b"hello"
    link.a.close()
    see_reset(link.b)


@SCENARIOS.add(
    a=client(
        **sent_reset("abort-late-data", "TCP_TIMEWAIT_SOCKET"),
        states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
        owner_from="close",
        error=None,
    ),
    b=server(**{**got_reset(), **RESET_AFTER_FIN}),
    # The mini-socket answers: that is no abort of a socket to the kernel.
    counted_a={"OutRsts": 1, "TCPAbortOnData": 0, "EstabResets": 0},
    counted_b={"EstabResets": 1},
)
def late_data_mini_socket(pair: Pair) -> None:
    link = pair.connect()
    link.a.close()
    eventually(lambda: pair.a.states() == ["FIN_WAIT2"])
    link.b.sendall(b"hello")
    see_hang_up(link.b)
    assert pair.a.states() == []


@SCENARIOS.add(
    a=client(
        **sent_reset("abort-late-data", "TCP_ABORT_ON_DATA"),
        states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
    ),
    b=server(**{**got_reset(), **RESET_AFTER_FIN}),
    counted_a={"OutRsts": 1, "TCPAbortOnData": 1},
    counted_b={"EstabResets": 1},
)
def late_data_full_socket(pair: Pair) -> None:
    """Shut down in both directions but not closed: FIN_WAIT2 stays a full socket."""
    link = pair.connect()
    link.a.shutdown(socket.SHUT_RDWR)
    eventually(lambda: pair.a.states() == ["FIN_WAIT2"])
    link.b.sendall(b"hello")
    see_hang_up(link.b)
    link.a.close()


def kill_socket(pair: Pair, *, answer_lost: bool) -> Link:
    """``ss -K`` on B's end of a connection."""
    link = pair.connect()
    link.a.sendall(b"hello")
    assert link.b.recv(100) == b"hello"
    eventually(lambda: pair.b.counters()["OutSegs"] == 2)
    drop = pair.drop(pair.a, RESETS) if answer_lost else None
    pair.b.run("ss", "-K", "-t", "dst", pair.a.addresses[4])
    if drop:
        assert drop.packets() == 1
        drop.lift()
    return link


ADMIN: dict[str, Any] = {
    **sent_reset("abort-admin", "TCP_STATE", states=accepted("CLOSE")),
    "first_close": "none",
    "closed_by": "admin",
    "error": "ECONNABORTED",
}


@SCENARIOS.add(
    a=client(**got_reset(ack=True, states=connected("CLOSE"))),
    b=server(**ADMIN),
    counted_b={"OutRsts": 1, "EstabResets": 1},
)
def admin(pair: Pair) -> None:
    link = kill_socket(pair, answer_lost=False)
    see_reset(link.a)
    link.b.close()


@SCENARIOS.add(
    a=client(**got_reset("peer-lost-state", ack=False, states=connected("CLOSE"))),
    b=server(**ADMIN),
    counted_a={"EstabResets": 1},
    counted_b={"OutRsts": 2},
)
def peer_lost_state_listener_left(pair: Pair) -> None:
    """The service is back and so is its port, but not the connection: the listener answers."""
    link = kill_socket(pair, answer_lost=True)
    link.a.sendall(b"again")
    see_reset(link.a)
    link.b.close()


@SCENARIOS.add(
    a=client(**got_reset("peer-lost-state", ack=False, states=connected("CLOSE"))),
    b=server(**ADMIN),
    counted_a={"EstabResets": 1},
    counted_b={"OutRsts": 2},
)
def peer_lost_state_nothing_left(pair: Pair) -> None:
    """The host is back without the service: no socket matches."""
    link = kill_socket(pair, answer_lost=True)
    link.listener.close()
    link.a.sendall(b"again")
    see_reset(link.a)
    link.b.close()


@SCENARIOS.add(
    a=client(**sent_reset("abort-disconnect", "TCP_STATE", "TCP_DISCONNECT_WITH_DATA")),
    b=server(**got_reset(ack=True, **RESET_AT_ONCE)),
    counted_a={"OutRsts": 1, "EstabResets": 1},
)
def disconnect(pair: Pair) -> None:
    link = pair.connect()
    link.b.sendall(b"hello")
    assert link.a.recv(100, socket.MSG_PEEK) == b"hello"
    assert _libc.connect(link.a.fileno(), AF_UNSPEC, len(AF_UNSPEC)) == 0
    see_reset(link.b)
    link.a.close()


@SCENARIOS.add(
    a=client(**got_reset(ack=True, states=connected("CLOSE"))),
    b=server(**sent_reset("abort-listener", "TCP_STATE", states=accepted("CLOSE"))),
    counted_b={"OutRsts": 1},
)
def listener_closed(pair: Pair) -> None:
    """The connection is complete but nobody accepted it."""
    listener = pair.keep(pair.b.listen())
    waiting = pair.keep(pair.a.tcp_socket())
    waiting.connect((pair.b.addresses[4], PORT))
    eventually(lambda: pair.b.states() == ["ESTABLISHED"])
    listener.close()
    see_reset(waiting)


@SCENARIOS.add(
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
    counted_a={"AttemptFails": 1},
    counted_b={"OutRsts": 1},
)
def connect_refused(pair: Pair) -> None:
    refused = pair.keep(pair.a.tcp_socket())
    with pytest.raises(ConnectionRefusedError):
        refused.connect((pair.b.addresses[4], PORT))
    refused.close()


def test_both_ends(scenario: Scenario, stage: Stage) -> None:
    """The sender of a reset is told its reason, the receiver what it was sent for."""
    stage.check(scenario)
