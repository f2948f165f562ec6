# SPDX-License-Identifier: Apache-2.0
"""What several plays do: open, close in turn, be reset, meet nobody, find a connection given up."""

from __future__ import annotations

import errno
import socket
import struct
import time

from tracetw.lab.net.actor_process import Actor
from tracetw.lab.net.fault import RESETS, PacketLoss
from tracetw.lab.net.host import Host
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, fails, require

__all__ = [
    "LINGER_0",
    "abort",
    "close_in_turn",
    "forget_connection",
    "leave_unread",
    "meet_nobody",
    "pause",
    "see_hang_up",
    "see_reset",
    "serve",
    "talk",
    "wait_for_timeout",
]

V6 = 6
SYN_ACK_AND_ACK = 2
LINGER_0 = struct.pack("ii", 1, 0)


def leave_unread(net: Net) -> Link:
    """A connection with five bytes in A's queue."""
    link = net.connect()
    link.b.sendall(b"hello")
    require(link.a.recv(100, socket.MSG_PEEK) == b"hello", "A did not receive")
    return link


def talk(link: Link) -> None:
    """Five bytes from A to B, three back."""
    link.a.sendall(b"hello")
    require(link.b.recv(100) == b"hello", "B did not receive")
    link.b.sendall(b"yes")
    require(link.a.recv(100) == b"yes", "A did not receive")


def close_in_turn(
    net: Net, first: Host, first_end: socket.socket, second_end: socket.socket
) -> None:
    """The second FIN leaves only after the first was acknowledged alone."""
    first_end.close()
    eventually(lambda: first.states() == ["FIN_WAIT2"])
    net.step(f"{first.letter.upper()} has closed, its FIN is acknowledged")
    second_end.close()
    eventually(lambda: first.states() == ["TIME_WAIT"])
    net.step(f"the other end has closed, {first.letter.upper()} is in TIME_WAIT")


def abort(end: socket.socket) -> None:
    """Close with SO_LINGER 0."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    end.close()


def pause(seconds: float) -> None:
    """An application that does nothing for a while."""
    begun = time.monotonic()
    eventually(lambda: time.monotonic() - begun >= seconds)


def see_reset(end: socket.socket) -> None:
    """The application learns of the reset, then closes."""
    with fails(ConnectionResetError):
        end.recv(100)
    end.close()


def see_hang_up(end: socket.socket) -> None:
    """As :func:`see_reset` for an end that had received the peer's FIN before (tcp_reset)."""
    eventually(lambda: end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EPIPE)
    end.close()


def meet_nobody(net: Net, end: socket.socket, drop: PacketLoss) -> None:
    """The network works again; what this end sends is answered with a RST."""
    drop.lift()
    net.step("packets arrive again; the end that is left sends data")
    end.sendall(b"anyone?")
    see_reset(end)


def wait_for_timeout(link: Link, kind: type[OSError] = TimeoutError) -> None:
    """A's application waits until its connection is given up."""
    with fails(kind):
        link.a.recv(100)
    link.a.close()


def forget_connection(net: Net, *, answer_lost: bool) -> Link:
    """A connection whose end in B is destroyed by ``ss -K``; its RST may be lost on the way.

    With the RST lost this is what a power cut and a reboot of B leave behind.
    """
    link = net.connect()
    link.a.sendall(b"hello")
    require(link.b.recv(100) == b"hello", "B did not receive")
    eventually(
        lambda: net.b.counters()["OutSegs"] == SYN_ACK_AND_ACK, what="B acknowledged the data"
    )
    drop = net.drop(net.a, RESETS) if answer_lost else None
    peer = net.a.addresses[net.family]
    net.b.run("ss", "-K", "-t", "dst", f"[{peer}]" if net.family == V6 else peer)
    net.step("B's end is destroyed")
    if drop:
        require(drop.packets() == 1, "B's RST was not lost")
        drop.lift()
    return link


def serve(net: Net, comm: str) -> tuple[Actor, socket.socket]:
    """A process on B that accepted a connection of ours from A and read from it."""
    process = net.actor(net.b, comm)
    process.listen(net.family)
    end = net.client()
    end.connect(net.server)
    process.do("accept")
    end.sendall(b"hello")
    require(process.do("receive") == "hello", "the process did not receive")
    return process, end
