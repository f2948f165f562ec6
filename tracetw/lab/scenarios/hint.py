# SPDX-License-Identifier: Apache-2.0
"""Connections whose facts point to more than their verdict says, and beside each one a near miss.

The near miss is another connection of the same play, which differs in what the hint is about and has none.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from tracetw.lab.expect.lines import client, server
from tracetw.lab.expect.match import Claim
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import abort, pause, see_reset, talk

__all__ = ["PAUSE_S", "RESET", "SCENARIOS", "hinted", "says", "scenario", "several"]

PAUSE_S = 0.7
FAREWELL = 24
"""TLS 1.3: the length of a close_notify."""
BELOW_EPHEMERAL = 20_000
UNREAD, RESET = "abort-unread", "peer-reset"


def hinted(*hints: str, **more: object) -> dict[str, object]:
    """A line with just these hints."""
    return {"hints": list(hints), **more}


def says(text: str) -> Claim:
    """A sentence with this in it."""
    return Claim(f"... {text} ...", lambda value: text in value)


def several(net: Net, count: int, **options: int) -> list[Link]:
    """Connections from A to one listener on B, accepted."""
    listener = net.listen()
    links = [net.dial(listener, net.client(**options)) for _ in range(count)]
    net.step(f"A connects {count} times, B accepts")
    return links


def unread(link: Link, count: int) -> None:
    link.a.sendall(bytes(count))
    require(len(link.b.recv(count, socket.MSG_PEEK | socket.MSG_WAITALL)) == count, "B has not all")


def leave_farewells(net: Net) -> None:
    farewell, more, open_still = several(net, 3)
    for link, count in ((farewell, FAREWELL), (more, FAREWELL + 8), (open_still, FAREWELL)):
        unread(link, count)
        if link is not open_still:
            link.a.shutdown(socket.SHUT_WR)
            eventually(lambda: net.b.states().count("CLOSE_WAIT") > 0)
        link.b.close()
        if link is not open_still:
            eventually(lambda: "CLOSE_WAIT" not in net.b.states())
            link.a.close()
        else:
            see_reset(link.a)


def answer_too_early(net: Net) -> None:
    early, silent = several(net, 2)
    unread(early, 1000)
    early.b.sendall(b"413")
    early.b.close()
    eventually(lambda: early.a.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    early.a.close()
    unread(silent, 1000)
    silent.b.close()
    see_reset(silent.a)


def leave_urgent_byte(net: Net) -> None:
    urgent, ordinary = several(net, 2)
    urgent.a.send(b"!", socket.MSG_OOB)
    # It makes the socket ready for POLLPRI, not for what a timeout waits for.
    urgent.b.setblocking(False)
    eventually(lambda: _urgent(urgent.b) == b"!")
    urgent.b.close()
    see_reset(urgent.a)
    unread(ordinary, 1)
    ordinary.b.close()
    see_reset(ordinary.a)


def _urgent(end: socket.socket) -> bytes:
    try:
        return end.recv(1, socket.MSG_OOB)
    except OSError:  # it is not there yet
        return b""


def connect_to_itself(net: Net) -> None:
    end = net.client()
    own = (net.a.addresses[net.family], BELOW_EPHEMERAL)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end.bind(own)
    end.connect(own)
    net.step("A's SYN met its own socket")
    ends = {"addr": own[0], "port": own[1]}
    net.learn("a", {"local": ends, "remote": ends})
    abort(end)
    link = net.connect()
    abort(link.a)
    see_reset(link.b)


def reset_before_accept(net: Net) -> None:
    listener = net.listen()
    impatient = net.client()
    impatient.connect(net.server)
    eventually(lambda: net.b.states() == ["ESTABLISHED"])
    abort(impatient)
    eventually(lambda: net.b.states() == [])
    net.step("A has reset what B had not accepted")
    net.keep(listener.accept()[0]).close()
    link = net.dial(listener)
    abort(link.a)
    see_reset(link.b)


def reset_out_of_nothing(net: Net) -> None:
    from tracetw.lab.net.peer import Peer  # noqa: PLC0415 (scapy, which few need)

    peer = Peer(net, net.a, net.b)
    listener = net.listen()
    for seconds in (PAUSE_S, 0.0):
        link = net.dial(listener)
        talk(link)
        pause(seconds)
        send = peer.ready("R")
        net.step("a bare RST in A's name, which answers nothing")
        if not seconds:
            # B's side of the exchange alone: the RST has A's sequence number.
            link.b.sendall(b"more")
            require(link.a.recv(100) == b"more", "A did not receive")
        send()
        see_reset(link.b)
        link.a.sendall(b"anyone?")
        see_reset(link.a)


def scenario(
    name: str, claim: str, play: Callable[[Net], None], a: object, b: object, **more: object
) -> Scenario:
    return Scenario(
        name=name,
        claim=claim,
        play=play,
        a=a,  # type: ignore[arg-type]
        b=b,  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


def close_the_listener(net: Net) -> None:
    waiting = net.client()
    listener = net.listen()
    link = net.dial(listener)
    waiting.connect(net.server)
    eventually(lambda: net.b.states().count("ESTABLISHED") > 1)
    listener.close()
    net.step("B's listener has closed with one connection in its queue")
    see_reset(waiting)
    abort(link.b)
    see_reset(link.a)


SCENARIOS: tuple[Scenario, ...] = (
    scenario(
        "hint-peer-record",
        "Both ends are seen: the record of the one that sent the RST says why, for the other one. That SO_LINGER 0 "
        "looks like itself needs no record.",
        close_the_listener,
        (
            client(verdict=RESET, **hinted("peer-record"), why=says("abort-listener")),
            client(verdict=RESET, **hinted()),
        ),
        (server(verdict="abort-listener", hints=[]), server(verdict="abort-linger", hints=[])),
        wire={"B>A RST ACK": 2},
        counters={"b": {"OutRsts": 2}},
    ),
    scenario(
        "hint-after-peer-fin",
        "24 bytes unread behind the peer's FIN may be a TLS close_notify; 32 are none, nor are 24 without a FIN.",
        leave_farewells,
        (client(hints=[]),) * 3,
        (
            server(verdict=UNREAD, **hinted("after-peer-fin", bytes_unread=FAREWELL)),
            server(verdict=UNREAD, **hinted(bytes_unread=FAREWELL + 8)),
            server(verdict=UNREAD, **hinted(bytes_unread=FAREWELL)),
        ),
        wire={"A>B FIN": 2, "B>A RST ACK": 3},
        counters={"b": {"TCPAbortOnClose": 3}},
    ),
    scenario(
        "hint-answer-unread-at-the-peer",
        "An answer that is followed by close() with the request unread: the RST overtakes it. Without an answer "
        "nothing is lost.",
        answer_too_early,
        (client(hints=[]),) * 2,
        (
            server(verdict=UNREAD, **hinted("answer-unread-at-the-peer", bytes_sent=3)),
            server(verdict=UNREAD, **hinted(bytes_sent=0)),
        ),
        wire={"B>A DATA": 1, "B>A RST ACK": 2},
        counters={"b": {"TCPAbortOnClose": 2}},
    ),
    scenario(
        "hint-urgent-byte",
        "An urgent byte that was read out of band is still unread for close(), which sends RST.",
        leave_urgent_byte,
        (client(verdict=RESET, hints=[]),) * 2,
        (
            server(verdict=UNREAD, **hinted("urgent-byte", bytes_unread=1)),
            server(verdict=UNREAD, **hinted(bytes_unread=1)),
        ),
        wire={"B>A RST ACK": 2},
        counters={"b": {"TCPAbortOnClose": 2}},
    ),
    scenario(
        "hint-connected-to-itself",
        "connect() to a port that becomes its own: the SYN opens the very socket that sent it; beside it an ordinary one.",
        connect_to_itself,
        (
            client(verdict="abort-linger", **hinted("connected-to-itself")),
            client(verdict="abort-linger", **hinted()),
        ),
        server(verdict=RESET, hints=[]),
        wire={"A>B SYN": 1, "B>A SYN": 1},
        counters={"a": {"ActiveOpens": 2, "PassiveOpens": 0}},
    ),
    scenario(
        "hint-reset-before-accept",
        "A client that resets before accept(), and one that does so afterwards.",
        reset_before_accept,
        (client(verdict="abort-linger", hints=[]),) * 2,
        (
            server(verdict=RESET, **hinted("reset-before-accept")),
            server(verdict=RESET, **hinted()),
        ),
        wire={"A>B RST ACK": 2},
        counters={"a": {"OutRsts": 2}},
    ),
    scenario(
        "hint-stray-segment-reset",
        "A bare RST when nothing of ours was out for a while answers something else; just after an exchange it may "
        "be the answer to our ACK.",
        reset_out_of_nothing,
        (client(hints=[]),) * 2,
        (
            server(**hinted("stray-segment-reset")),
            server(**hinted()),
        ),
        wire={"A>B RST !ACK": 2},
        counters={"b": {"EstabResets": 2}},
        seconds=1,
    ),
)
