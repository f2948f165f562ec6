# SPDX-License-Identifier: Apache-2.0
"""A server that answers before it has read the whole request: what becomes of its answer."""

from __future__ import annotations

import socket

from tracetw.lab.expect.lines import born, client, first, got_reset, second, sent_reset, server
from tracetw.lab.expect.match import SOME
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, fails, require
from tracetw.lab.scenarios.hint import several
from tracetw.lab.scenarios.moves import see_reset

__all__ = ["SCENARIOS"]

REQUEST = 1000
ANSWER = b"413"


def ask(link: Link) -> None:
    """A request that waits in B's queue, and an answer that A has not read yet."""
    link.a.sendall(bytes(REQUEST))
    waiting = link.b.recv(REQUEST, socket.MSG_PEEK | socket.MSG_WAITALL)
    require(len(waiting) == REQUEST, "B has not the whole request")
    link.b.sendall(ANSWER)


def answer_and_close(net: Net) -> None:
    reads, sends = several(net, 2)
    for link in (reads, sends):
        ask(link)
        link.b.close()
    # Without a look at SO_ERROR, which would take the error away.
    eventually(lambda: net.a.states() == [], what="A has both resets")
    net.step("B has answered twice and has closed with the requests unread; A has both resets")
    require(reads.a.recv(100) == ANSWER, "the answer was gone")
    net.step("on the first connection A can still read the answer, and then learns of the reset")
    see_reset(reads.a)
    with fails(ConnectionResetError):
        sends.a.sendall(b"the rest of the request")
    net.step("on the second A sends first, and gets the error instead")
    sends.a.close()


def answer_and_drain(net: Net) -> None:
    link = net.connect()
    ask(link)
    link.b.shutdown(socket.SHUT_WR)
    net.step("B has answered, has shut down its direction, and reads what still comes")
    link.a.sendall(b"the rest of the request")
    require(link.a.recv(100) == ANSWER, "A did not receive the answer")
    require(link.a.recv(100) == b"", "A did not see the end")
    link.a.close()
    while link.b.recv(100):
        pass
    link.b.close()
    eventually(lambda: net.b.states() == ["TIME_WAIT"])


SCENARIOS = (
    Scenario(
        name="answer-before-reset",
        claim="A server answers and closes with the request unread: a client on Linux can read what has arrived,"
        " but a client that sends first gets the error instead.",
        play=answer_and_close,
        a=(client(**got_reset(ack=True), bytes_sent=REQUEST, bytes_received=len(ANSWER)),) * 2,
        b=(
            server(
                **sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE"),
                bytes_unread=REQUEST,
                bytes_sent=len(ANSWER),
            ),
        )
        * 2,
        wire={"B>A DATA": 2, "B>A RST ACK": 2, "A>B RST": 0, "FIN": 0},
        order=("A>B DATA", "B>A DATA", "B>A RST"),
        counters={"b": {"TCPAbortOnClose": 2, "OutRsts": 2}},
    ),
    Scenario(
        name="answer-then-drain",
        claim="A server answers, shuts down its direction and reads the request to its end: nothing is reset, and"
        " the answer arrives.",
        play=answer_and_drain,
        a=client(**{**second("fin-4"), "form": SOME}, bytes_received=len(ANSWER)),
        b=server(**{**first("fin-4"), "form": SOME}, bytes_sent=len(ANSWER)),
        events={"b": {"entered": 1}},
        wire={"B>A FIN": 1, "A>B FIN": 1, "RST": 0},
        order=("A>B DATA", "B>A DATA", "B>A FIN", "A>B DATA", "A>B FIN"),
        counters={"b": {"TCPAbortOnClose": 0, "OutRsts": 0, "TW": born(1)}},
    ),
)
