# SPDX-License-Identifier: Apache-2.0
"""What looks like the peer's doing and need not be: resets of a box on the way, repeated SYN+ACKs, stray SYNs.

The verdict is about this end, and inferred: the sentence names a box beside the peer.
"""

from __future__ import annotations

import socket
from typing import Any

from tracetw.lab.expect.lines import (
    LEFT_BEHIND,
    client,
    connected,
    first,
    got_reset,
    says,
    second,
    sent_reset,
    server,
)
from tracetw.lab.expect.match import accepted, at_least, known_by, one_of, path
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.fault import DATA, PURE_ACKS, RESETS
from tracetw.lab.net.host import PORT
from tracetw.lab.net.peer import Peer
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import (
    abort,
    close_in_turn,
    leave_unread,
    meet_nobody,
    see_reset,
    talk,
)

__all__ = ["SCENARIOS"]

BOX = "a box on the way"
UNACKED = "came while 5 bytes of ours went unacknowledged"
OWN_TTL = 64
"""Of a packet that no router has passed on (ip_default_ttl, IPV6_DEFAULT_HOPLIMIT)."""
LOST_ACKS = 2
OVERFLOWS = 2
CHALLENGES = {"TCPSYNChallenge": 1}
NOT_STALE: dict[str, Any] = {"confidence": "inferred", "why": says(BOX, without=("SYN",))}


def router_resets(net: Net) -> None:
    """The router answers A's data in B's name; B receives nothing."""
    link = net.connect()
    talk(link)
    reject = net.reject_on_the_way(DATA)
    link.a.sendall(b"hello")
    see_reset(link.a)
    reject.lift()
    require(net.b.states() == ["ESTABLISHED"], "B's end has noticed")
    net.step("B still has the connection, and closes")
    abort(link.b)


def forged_reset_with_ack(net: Net) -> None:
    """Somebody on B's side of the cable sends a RST as B's own kernel would."""
    peer = Peer(net, net.b, net.a)
    link = net.connect()
    talk(link)
    peer.say("RA", age=0)
    net.step("a RST with ACK in B's name, exactly at what A expects; B knows of nothing")
    see_reset(link.a)
    require(net.b.states() == ["ESTABLISHED"], "B's end has noticed")
    abort(link.b)


def repeat_syn_ack(net: Net) -> None:
    """The SYN+ACK comes twice, as when the handshake's ACK was lost; data flows; later a bare RST comes."""
    peer = Peer(net, net.b, net.a)
    link = net.connect()
    peer.repeat("SA")
    net.step("B's SYN+ACK once more")
    eventually(lambda: net.a.counters()["TCPSYNChallenge"] == 1, what="A's challenge ACK")
    talk(link)
    peer.say("R")
    net.step("a bare RST in B's name")
    see_reset(link.a)
    abort(link.b)


def overflow_then_reset(net: Net) -> None:
    """The accept queue is full: B repeats its SYN+ACK and forgets; A's data is answered with a bare RST."""
    listener = net.listen(backlog=1)
    ends = [net.client() for _ in range(3)]
    ends[0].connect(net.server)
    eventually(lambda: net.b.states() == ["ESTABLISHED"])
    drop = net.drop(net.b, PURE_ACKS, once=True)
    for end in ends[1:]:
        end.connect(net.server)
    eventually(lambda: drop.packets() == LOST_ACKS)
    net.step("B lost the ACKs of two handshakes, and has room for one more connection")
    eventually(lambda: net.b.counters()["ListenOverflows"] >= 1, what="B's overflow")
    eventually(lambda: net.b.states() == ["ESTABLISHED"] * 2, what="B has forgotten one of them")
    net.step(
        "B has repeated both SYN+ACKs, taken one ACK, and forgotten the other request; A sends"
    )
    accepted_ends = [net.keep(listener.accept()[0]) for _ in range(2)]
    known = {end.getpeername() for end in accepted_ends}
    (other,) = (end for end in ends if end.getsockname() not in known)
    other.sendall(b"hello")
    see_reset(other)
    for end in accepted_ends:
        abort(end)


def overflow_by_syn(net: Net) -> None:
    """The accept queue is full: B drops the SYNs of a third connection."""
    listener = net.listen(backlog=1)
    for end in [net.client() for _ in range(2)]:
        end.connect(net.server)
    eventually(lambda: net.b.states() == ["ESTABLISHED"] * 2)
    net.step("B's accept queue is full: one more than the backlog of 1")
    late = net.client()
    late.setblocking(False)
    late.connect_ex(net.server)
    eventually(lambda: net.b.counters()["ListenOverflows"] == OVERFLOWS, what="B's overflows")
    net.step("A has sent its third SYN twice, and gives up")
    late.close()
    for end in [net.keep(listener.accept()[0]) for _ in range(2)]:
        abort(end)


def syn_then_data(net: Net) -> None:
    """A SYN in B's name meets the live connection, the real B goes on, and then a RST comes."""
    peer = Peer(net, net.b, net.a)
    link = net.connect()
    talk(link)
    peer.say("S", ahead=12_345)
    net.step(
        "a SYN in B's name; A challenges it, and B, which has the connection, ignores the challenge"
    )
    eventually(lambda: net.a.counters()["TCPSYNChallenge"] == 1, what="A's challenge ACK")
    talk(link)
    peer.say("R")
    net.step("data has passed; then a bare RST in B's name")
    see_reset(link.a)
    abort(link.b)


def unread_behind_firewall(net: Net) -> None:
    """A closes with unread data, and A's own firewall drops the RST."""
    link = leave_unread(net)
    block = net.block(net.a, RESETS)
    link.a.close()
    require(block.packets() == 1, "A's RST was not dropped")
    require(net.b.states() == ["ESTABLISHED"], "B's end has noticed")
    meet_nobody(net, link.b, block)


def unread_after_shutdown(net: Net) -> None:
    """The FIN is sent and acknowledged before close() finds unread data."""
    link = leave_unread(net)
    link.a.shutdown(socket.SHUT_WR)
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.step(
        "A has shut down its direction, its FIN is acknowledged; A closes with B's data unread"
    )
    link.a.close()
    eventually(lambda: net.b.states() == [] or net.b.states() == ["CLOSE"])
    link.b.close()


def shutdown_then_read(net: Net) -> None:
    """The near miss: everything was read before close()."""
    link = leave_unread(net)
    link.a.shutdown(socket.SHUT_WR)
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    require(link.a.recv(100) == b"hello", "A did not read")
    close_in_turn(net, net.a, link.a, link.b)


OVERFLOW = {
    "role": "server",
    "reason": "TCP_LISTEN_OVERFLOW",
    "queued": 2,
    "backlog": 1,
    "owner_from": "listener",
    "local": {"port": PORT},
}
ABORTED_QUIETLY = server(verdict="abort-linger", closed_by="app")
RST_AFTER = {
    "states": accepted("CLOSE_WAIT", "CLOSE"),
    "error": one_of("EPIPE", None),
}

SCENARIOS = (
    Scenario(
        name="router-resets",
        claim="A router rejects A's data with a RST in B's name: it looks as if B had lost the connection,"
        " and B has received nothing.",
        play=router_resets,
        nat=True,
        a=client(
            **{
                **got_reset("peer-lost-state", ack=False, states=connected("CLOSE")),
                "reset": {"direction": "received", "ttl": known_by("reset_flags", OWN_TTL)},
            },
            ttl=known_by("handshake_ttl", OWN_TTL - 1),
            confidence="inferred",
            why=known_by(
                "reset_flags",
                says(UNACKED, BOX, "came with TTL 64", "of the handshake with 63"),
                otherwise=says(UNACKED, BOX, without=("TTL",)),
            ),
        ),
        b=ABORTED_QUIETLY,
        # The cable at B: the data that the router rejected is not on it.
        wire={"A>B DATA": 1, "B>A RST !ACK": 0},
        counters={"a": {"EstabResets": 1, "OutRsts": 0}, "b": {"OutRsts": 1}},
    ),
    Scenario(
        name="reset-with-ack-of-a-box",
        claim="A RST with ACK and a timestamp, as B's kernel would send it, comes from a box: A cannot tell.",
        play=forged_reset_with_ack,
        a=client(
            **got_reset("peer-reset", ack=True, states=connected("CLOSE")),
            confidence="inferred",
            why=says(BOX),
        ),
        b=ABORTED_QUIETLY,
        wire={"B>A RST ACK": 2},
        counters={"a": {"EstabResets": 1, "OutRsts": 0}},
    ),
    Scenario(
        name="repeated-syn-ack-then-reset",
        claim="A SYN+ACK that comes twice is challenged like a SYN, but it is none: a RST after it is not the"
        " answer of a peer that begins anew.",
        play=repeat_syn_ack,
        a=client(
            **got_reset(
                one_of("peer-reset", "peer-lost-state"), ack=False, states=connected("CLOSE")
            ),
            **NOT_STALE,
        ),
        b=ABORTED_QUIETLY,
        wire={"B>A SYN ACK": 2, "B>A SYN !ACK": 0, "B>A RST !ACK": 1},
        order=("B>A SYN ACK", "B>A SYN ACK", "A>B PURE", "A>B DATA", "B>A RST"),
        counters={"a": {**CHALLENGES, "EstabResets": 1}},
    ),
    Scenario(
        name="accept-queue-full-then-reset",
        claim="The accept queue is full: B drops the ACK of the handshake, repeats its SYN+ACK, forgets, and"
        " answers A's data with a bare RST.",
        play=overflow_then_reset,
        sysctls={"b": {"tcp_synack_retries": 1}},
        a=(
            client(
                **got_reset("peer-lost-state", ack=False, states=connected("CLOSE")),
                **NOT_STALE,
            ),
            *(client(**got_reset("peer-reset", ack=True)),) * 2,
        ),
        b=(ABORTED_QUIETLY,) * 2,
        events={"b": {"accept-queue-full": known_by("TCP_LISTEN_OVERFLOW", OVERFLOW, otherwise=0)}},
        wire={"B>A SYN ACK": at_least(5), "B>A RST !ACK": 1},
        counters={
            "a": {"TCPSYNChallenge": 2, "EstabResets": 3},
            "b": {"ListenOverflows": at_least(1), "OutRsts": 3},
        },
        seconds=5,
    ),
    Scenario(
        name="accept-queue-full-for-a-syn",
        claim="The accept queue is full: B drops SYNs without an answer. With a function probe each is an event that"
        " has the listener's queue, and ListenOverflows adds up.",
        play=overflow_by_syn,
        a=(
            client(verdict="connect-aborted", closed_by="app", states=path("SYN_SENT", "CLOSE")),
            *(client(**got_reset("peer-reset", ack=True)),) * 2,
        ),
        b=(ABORTED_QUIETLY,) * 2,
        events={"b": {"accept-queue-full": known_by("listener_dropped", OVERFLOWS, otherwise=0)}},
        wire={"A>B SYN": 2 + OVERFLOWS, "B>A SYN ACK": 2},
        counters={
            "a": {"EstabResets": 2},
            "b": {"ListenOverflows": OVERFLOWS, "ListenDrops": OVERFLOWS},
        },
        seconds=2,
    ),
    Scenario(
        name="syn-then-data-then-reset",
        claim="A stray SYN is challenged, the peer goes on, and a RST comes later: the SYN has nothing to do"
        " with it.",
        play=syn_then_data,
        a=client(
            **got_reset(
                one_of("peer-reset", "peer-lost-state"), ack=False, states=connected("CLOSE")
            ),
            **NOT_STALE,
        ),
        b=ABORTED_QUIETLY,
        wire={"B>A SYN !ACK": 1, "B>A RST !ACK": 1},
        order=("B>A SYN !ACK", "A>B PURE", "A>B DATA", "B>A DATA", "B>A RST"),
        counters={"a": {**CHALLENGES, "EstabResets": 1}},
    ),
    Scenario(
        name="own-firewall-drops-reset",
        claim="A closes with unread data and its own firewall drops the RST: the kernel made one, and none is"
        " on the wire.",
        play=unread_behind_firewall,
        a=client(
            **sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE"),
            why=says("aborted with RST", without=("sent",)),
            bytes_unread=5,
        ),
        b=server(**LEFT_BEHIND),
        wire={"A>B RST ACK": 0, "A>B RST !ACK": 1, "FIN": 0},
        counters={"a": {"TCPAbortOnClose": 1, "TCPAbortFailed": 1}, "b": {"EstabResets": 1}},
    ),
    Scenario(
        name="unread-after-shutdown",
        claim="shutdown(SHUT_WR), then close() with unread data: RST after a FIN that was acknowledged, and no"
        " TIME_WAIT was due.",
        play=unread_after_shutdown,
        a=client(
            **sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE"),
            states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
            why=says("after shutdown() with 5 bytes unread", without=("instead",)),
            bytes_unread=5,
        ),
        b=server(**{**got_reset(ack=True), **RST_AFTER}),
        events={"a": {"overflow": 0, "entered": 0, "fin-wait2": 0}},
        wire={"A>B FIN": 1, "A>B RST ACK": 1, "B>A FIN": 0},
        order=("A>B FIN", "B>A PURE", "A>B RST"),
        counters={"a": {"TCPAbortOnClose": 1, "TCPTimeWaitOverflow": 0}},
    ),
    Scenario(
        name="read-after-shutdown",
        claim="The same with everything read first: an orderly close.",
        play=shutdown_then_read,
        a=client(**first("fin-4"), states=connected("FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")),
        b=server(**second("fin-4")),
        events={"a": {"overflow": 0, "entered": 1}},
        wire={"A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        counters={"a": {"TCPAbortOnClose": 0, "TCPTimeWaitOverflow": 0}},
    ),
)
