# SPDX-License-Identifier: Apache-2.0
"""As in ``hint``: what silence and losses point to."""

from __future__ import annotations

import socket
import time

from tracetw.lab.expect.lines import client, server
from tracetw.lab.expect.match import Claim, at_least, between
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, patient, require
from tracetw.lab.scenarios.hint import PAUSE_S, RESET, hinted, says, scenario, several
from tracetw.lab.scenarios.moves import abort, pause, see_hang_up, see_reset, talk

__all__ = ["SCENARIOS"]

IDLE_S, LONG_S = 1.1, 2.7
FULL = "meta length > 1000"
# Which of the two ends is seen first is free, and with it whether the other one can tell of it (peer-record).
RACE = Claim("keepalive-race among them", lambda value: "keepalive-race" in value)
NO_RACE = Claim("no keepalive-race", lambda value: "keepalive-race" not in value)


def wait_for_an_answer(net: Net) -> None:
    asked, answered = several(net, 2)
    talk(answered)
    asked.a.sendall(b"question")
    require(asked.b.recv(100) == b"question", "B did not receive")
    eventually(lambda: net.a.counters()["InSegs"] and not _unacked(asked.a))
    pause(PAUSE_S)
    for link in (asked, answered):
        abort(link.a)
        see_reset(link.b)


def _unacked(end: socket.socket) -> int:
    """tcpi_unacked."""
    return end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24]


def race(net: Net) -> None:
    late, at_once, asked = several(net, 3)
    talk(asked)
    for link, seconds in ((late, PAUSE_S), (at_once, 0.0)):
        talk(link)
        pause(seconds)
        # A full socket answers, which the kernel counts; what close() leaves behind may be a timewait socket.
        link.b.shutdown(socket.SHUT_RDWR)
        eventually(lambda: "FIN_WAIT2" in net.b.states())
        link.a.sendall(b"another request")
        see_hang_up(link.a)
        link.b.close()
    # A gives up waiting, and its answer comes late: nobody's connection was idle.
    pause(0.05)
    asked.a.sendall(b"question")
    require(asked.b.recv(100) == b"question", "B did not receive")
    pause(PAUSE_S)
    asked.a.shutdown(socket.SHUT_RDWR)
    eventually(lambda: "FIN_WAIT2" in net.a.states())
    asked.b.sendall(b"answer")
    see_hang_up(asked.b)
    asked.a.close()


def close_idle(net: Net) -> None:
    links, asked = several(net, 4), []
    for _ in range(3):
        asked.append(net.dial(links[0].listener))
        asked[-1].a.sendall(b"question")
        require(asked[-1].b.recv(100) == b"question", "B did not receive")
    talked = []
    for link in links:
        talk(link)
        talked.append(time.monotonic())
    for link, when in zip(links[:3], talked, strict=False):
        # Idle times are the same within 3 %: the delays of a slow machine must be less.
        pause(when + patient(IDLE_S) - time.monotonic())
        link.b.close()
    eventually(lambda: net.a.states().count("CLOSE_WAIT") == len(links) - 1)
    net.step("B has closed three connections that were idle for the same time")
    for link in links[:3]:
        link.a.close()
    for link in asked:
        link.a.close()
        require(link.b.recv(100) == b"", "B did not see the end")
        link.b.close()
    net.step("A has given three others up, on which no answer came for the same time")
    pause(patient(PAUSE_S))
    links[3].b.close()
    eventually(lambda: "CLOSE_WAIT" in net.a.states())
    links[3].a.close()


def _lose(net: Net, link: Link, match: str, what: bytes) -> None:
    """B does not receive what ``match`` matches; A gives up, and B's end stays."""
    drop = net.drop(net.b, match)
    link.a.sendall(what)
    try:
        link.a.recv(100)
    except TimeoutError:
        link.a.close()
    drop.lift()
    link.b.sendall(b"anyone?")
    _drained(link.b)


def _drained(end: socket.socket) -> None:
    """Read until the reset."""
    try:
        while end.recv(1 << 16):
            pass
    except ConnectionResetError:
        end.close()


def never_acknowledged(net: Net) -> None:
    nothing, something = several(net, 2, TCP_USER_TIMEOUT=600)
    talk(something)
    for link in (nothing, something):
        _lose(net, link, "tcp flags & (syn | rst) == 0", b"hello")


def lose_full_segments(net: Net) -> None:
    full, everything = several(net, 2, TCP_USER_TIMEOUT=600)
    for link, match in ((full, FULL), (everything, "meta l4proto tcp")):
        talk(link)
        _lose(net, link, match, bytes(5000))


def forget_on_the_path(net: Net) -> None:
    forgotten, other, recent, sending = several(net, 4, TCP_USER_TIMEOUT=500)
    talk(forgotten)
    talk(sending)
    for _ in range(9):
        pause(LONG_S / 9)
        sending.a.sendall(b"more")
        require(sending.b.recv(100) == b"more", "B did not receive")
    talk(other)
    other.a.close()
    eventually(lambda: "CLOSE_WAIT" in net.b.states())
    other.b.close()
    eventually(lambda: "TIME_WAIT" in net.a.states())
    net.step("another connection between A and B has ended in order")
    talk(recent)
    for link in (recent, sending, forgotten):
        port = link.a.getsockname()[1]
        _lose(net, link, f"tcp sport {port}", b"hello")


SCENARIOS: tuple[Scenario, ...] = (
    scenario(
        "hint-waited-for-answer",
        "A client that gives up waiting: what it sent arrived, no answer came. The one that was answered did not wait.",
        wait_for_an_answer,
        (
            client(
                verdict="abort-linger",
                **hinted("waited-for-answer", since_received_ms=None, bytes_acked=8),
                since_sent_ms=between(600, 60_000),
                why=says("no answer had come"),
            ),
            client(verdict="abort-linger", **hinted(bytes_acked=5)),
        ),
        (server(verdict=RESET, hints=[]),) * 2,
        wire={"A>B RST ACK": 2},
        counters={"a": {"OutRsts": 2}},
        seconds=1,
    ),
    scenario(
        "hint-keepalive-race",
        "The server closes an idle connection, and another request meets that close; at once after an answer it is "
        "no idle connection, nor is one whose client gives up waiting for an answer that then comes.",
        race,
        (
            client(hints=RACE, since_received_ms=between(600, 60_000)),
            client(hints=NO_RACE, since_received_ms=between(0, 499)),
            client(verdict="abort-late-data", **hinted("waited-for-answer")),
        ),
        (
            server(
                verdict="abort-late-data",
                **hinted("keepalive-race", since_sent_ms=between(600, 60_000)),
                why=says("after its last answer"),
            ),
            server(verdict="abort-late-data", **hinted(since_sent_ms=between(0, 499))),
            server(verdict=RESET, hints=NO_RACE),
        ),
        wire={"B>A FIN": 2, "B>A RST": 2, "A>B FIN": 1, "A>B RST": 1},
        counters={"b": {"OutRsts": 2, "TCPAbortOnData": 2}, "a": {"TCPAbortOnData": 1}},
        seconds=1,
    ),
    scenario(
        "hint-idle-timeout",
        "The third connection that the server closes after the same idle time shows a timeout; one that was idle for "
        "longer does not, nor does one whose client gives up waiting for an answer after a time that is always the same.",
        close_idle,
        (
            client(verdict="orderly", **hinted("idle-timeout"), why=says("of the peer")),
            *(client(verdict="orderly", hints=[]),) * 3,
            *(client(verdict="orderly", **hinted("waited-for-answer")),) * 3,
        ),
        (
            server(verdict="orderly", **hinted("idle-timeout"), why=says("of this side")),
            *(server(verdict="orderly", hints=[]),) * 6,
        ),
        wire={"B>A FIN": 7, "RST": 0},
        counters={"b": {"TCPAbortOnTimeout": 0}},
        seconds=2,
    ),
    scenario(
        "hint-nothing-ever-acknowledged",
        "Data that was never acknowledged after a handshake that was, beside a connection that worked at first.",
        never_acknowledged,
        (
            client(verdict="user-timeout", **hinted("nothing-ever-acknowledged", bytes_acked=0)),
            client(verdict="user-timeout", **hinted(bytes_acked=5)),
        ),
        (server(hints=[]),) * 2,
        wire={"A>B DATA": at_least(4)},
        counters={"a": {"TCPAbortOnTimeout": 2}},
        seconds=2,
    ),
    scenario(
        "hint-only-full-segments-lost",
        "Only segments above a size are lost, without a word from the path; where everything is lost the size says "
        "nothing.",
        lose_full_segments,
        (
            client(
                verdict="user-timeout",
                **hinted("only-full-segments-lost", mss=between(1380, 1460), bytes_acked=5),
            ),
            client(verdict="user-timeout", **hinted(bytes_acked=5)),
        ),
        (server(), server()),
        wire={"A>B DATA": at_least(6)},
        counters={"a": {"TCPAbortOnTimeout": 2}},
        seconds=2,
    ),
    scenario(
        "hint-forgotten-on-the-path",
        "After a long pause data meets silence while another connection with that peer ended in order; without the "
        "pause it is a plain loss, also for who has received nothing for long but sent until then.",
        forget_on_the_path,
        (
            client(verdict="user-timeout", **hinted("forgotten-on-the-path")),
            client(verdict="orderly", hints=[]),
            client(verdict="user-timeout", hints=[]),
            client(verdict="user-timeout", hints=[], since_received_ms=at_least(2000)),
        ),
        (
            server(verdict="orderly", hints=[]),
            server(form="rst-received"),
            server(form="rst-received"),
            server(form="rst-received"),
        ),
        wire={"A>B DATA": at_least(15)},
        counters={"a": {"TCPAbortOnTimeout": 3}},
        seconds=5,
    ),
)
