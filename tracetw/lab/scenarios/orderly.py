# SPDX-License-Identifier: Apache-2.0
"""Connections that both sides closed by FIN: in every order that TCP has for it."""

from __future__ import annotations

import socket

from tracetw.lab.expect.lines import born, client, connected, first, second, server, simultaneous
from tracetw.lab.expect.match import accepted, at_least
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.fault import FINS, PURE_ACKS, held
from tracetw.lab.net.host import PORT
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import close_in_turn, talk

__all__ = ["SCENARIOS"]

PASSIVE = ("CLOSE_WAIT", "LAST_ACK", "CLOSE")
ACTIVE = ("FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")
SIMULTANEOUS = ("FIN_WAIT1", "CLOSING", "TIME_WAIT")
FOUR_FROM_A = ("A>B FIN", "B>A PURE", "B>A FIN", "A>B PURE")
FOUR_FROM_B = ("B>A FIN", "A>B PURE", "A>B FIN", "B>A PURE")
ONE_FIN_EACH = {"A>B FIN": 1, "B>A FIN": 1, "RST": 0}
AGAIN = {"total": at_least(1), "fin": at_least(1)}


def client_closes_first(net: Net) -> None:
    link = net.connect()
    talk(link)
    close_in_turn(net, net.a, link.a, link.b)


def server_closes_first(net: Net) -> None:
    link = net.connect()
    talk(link)
    close_in_turn(net, net.b, link.b, link.a)


def v4_mapped(net: Net) -> None:
    listener = net.keep(net.b.listen(6))
    link = net.dial(listener)
    close_in_turn(net, net.a, link.a, link.b)


# B's segments are SYN+ACK, the ACK of the data and FIN+ACK: another would be an ACK of its own.
HELLO_ACKED = 2


def answer_fin_at_once(net: Net) -> None:
    """B's process sleeps in recv() and closes when it wakes, before a delayed ACK is due."""
    process = net.actor(net.b, "closes-at-once")
    process.listen(net.family)
    end = net.client()
    end.connect((net.b.addresses[net.family], PORT))
    process.do("accept")
    process.do("hurry")
    process.order("close_at_end")
    end.sendall(b"hello")
    eventually(lambda: net.b.unread() == 0 and net.b.counters()["OutSegs"] == HELLO_ACKED)
    end.close()
    process.answer()
    eventually(lambda: net.a.states() == ["TIME_WAIT"])
    net.learn("b", process.owner())


def answer_fin_before_the_ack(net: Net) -> None:
    answer_fin_at_once(net)
    in_time = net.b.counters()["OutSegs"] == HELLO_ACKED + 1
    require(in_time, "B's answer came after the delayed ACK: this machine took more than 40 ms")


def answer_fin_at_once_with_quick_acks(net: Net) -> None:
    net.acknowledge_at_once(net.b)
    answer_fin_at_once(net)


def close_without_data(net: Net) -> None:
    link = net.connect()
    close_in_turn(net, net.a, link.a, link.b)
    eventually(lambda: net.b.states() == [])


def cross(net: Net) -> None:
    """Both FINs wait for a link address, so that each leaves before the other's arrives."""
    link = net.connect()
    with held(net.a, net.b, net.family), held(net.b, net.a, net.family):
        link.a.close()
        link.b.close()
        require(net.a.states() == net.b.states() == ["FIN_WAIT1"], "a FIN was not held")
        net.step("both have closed, both FINs are on their way")
    eventually(lambda: net.a.states() == net.b.states() == ["TIME_WAIT"])


def half_close(net: Net) -> None:
    link = net.connect()
    link.a.sendall(b"hello")
    link.a.shutdown(socket.SHUT_WR)
    require(link.b.recv(100) == b"hello", "B did not receive")
    require(link.b.recv(100) == b"", "B did not see the end")
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.step("A has shut down its direction; B sends on")
    link.b.sendall(b"yes")
    require(link.a.recv(100) == b"yes", "A did not receive")
    link.b.close()
    require(link.a.recv(100) == b"", "A did not see the end")
    link.a.close()
    eventually(lambda: net.a.states() == ["TIME_WAIT"])


def lose_fin(net: Net) -> None:
    link = net.connect()
    drop = net.drop(net.b, FINS)
    link.a.close()
    eventually(drop.packets, what="A's FIN was lost")
    require(net.a.states() == ["FIN_WAIT1"], "A's FIN was acknowledged")
    drop.lift()
    net.step("A's FIN was lost; FINs arrive again")
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    link.b.close()
    eventually(lambda: net.a.states() == ["TIME_WAIT"])


def lose_last_ack(net: Net) -> None:
    link = net.connect()
    link.a.close()
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    drop = net.drop(net.b, PURE_ACKS)
    link.b.close()
    eventually(drop.packets, what="the last ACK was lost")
    require(net.b.states() == ["LAST_ACK"], "B got the last ACK")
    drop.lift()
    net.step("the last ACK was lost; ACKs arrive again")
    eventually(lambda: net.b.states() == [])


SCENARIOS = (
    Scenario(
        name="four-way-close",
        claim="The client closes first: FIN, ACK, FIN, ACK, and the client carries TIME_WAIT.",
        play=client_closes_first,
        a=client(**first("fin-4", states=connected(*ACTIVE), bytes_sent=5, bytes_received=3)),
        b=server(**second("fin-4", states=accepted(*PASSIVE), bytes_sent=3, bytes_received=5)),
        events={"a": {"fin-wait2": 1, "entered": 1}, "b": {"entered": 0}},
        wire=ONE_FIN_EACH,
        order=FOUR_FROM_A,
        counters={
            "a": {"TW": born(1), "OutRsts": 0, "EstabResets": 0},
            "b": {"TW": 0, "OutRsts": 0, "EstabResets": 0},
        },
        timewait={"a": {"sockets": {"time_wait": 1}}, "b": {"sockets": {"time_wait": 0}}},
    ),
    Scenario(
        name="server-closes-first",
        claim="Who closes first carries TIME_WAIT, and that may be the server.",
        play=server_closes_first,
        a=client(**second("fin-4", states=connected(*PASSIVE), bytes_sent=5, bytes_received=3)),
        b=server(**first("fin-4", states=accepted(*ACTIVE), bytes_sent=3, bytes_received=5)),
        events={"a": {"entered": 0}, "b": {"entered": 1}},
        wire=ONE_FIN_EACH,
        order=FOUR_FROM_B,
        counters={"a": {"TW": 0, "OutRsts": 0}, "b": {"TW": born(1), "OutRsts": 0}},
        timewait={"a": {"sockets": {"time_wait": 0}}, "b": {"sockets": {"time_wait": 1}}},
    ),
    Scenario(
        name="v4-mapped-server",
        claim="An IPv6 listener accepts IPv4, too: its end has IPv4 addresses in the output.",
        play=v4_mapped,
        families=(4,),
        a=client(**first("fin-4", states=connected(*ACTIVE))),
        b=server(**second("fin-4", states=accepted(*PASSIVE))),
        wire=ONE_FIN_EACH,
        order=FOUR_FROM_A,
        counters={"a": {"TW": born(1)}},
    ),
    Scenario(
        name="three-segments",
        claim="A program that closes within the 40 ms of the delayed ACK saves a segment: FIN, FIN+ACK,"
        " ACK.",
        play=answer_fin_before_the_ack,
        a=client(**first("fin-3", states=connected(*ACTIVE), bytes_sent=5)),
        b=server(**second("fin-3", states=accepted(*PASSIVE), bytes_received=5)),
        events={"a": {"fin-wait2": 0, "entered": 1}},
        wire={**ONE_FIN_EACH, "B>A PURE": 1},
        order=("A>B DATA", "B>A PURE", "A>B FIN", "B>A FIN ACK", "A>B PURE"),
        counters={"a": {"TW": born(1)}, "b": {"TW": 0, "OutSegs": HELLO_ACKED + 1}},
    ),
    Scenario(
        name="four-segments-quick-ack",
        claim="The same program on a route with quick ACKs needs four segments.",
        play=answer_fin_at_once_with_quick_acks,
        a=client(**first("fin-4", states=connected(*ACTIVE), bytes_sent=5)),
        b=server(**second("fin-4", states=accepted(*PASSIVE), bytes_received=5)),
        events={"a": {"entered": 1}},
        wire={**ONE_FIN_EACH, "B>A PURE": 2},
        order=FOUR_FROM_A,
        counters={"a": {"TW": born(1)}, "b": {"TW": 0, "OutSegs": HELLO_ACKED + 2}},
    ),
    Scenario(
        name="four-segments-without-data",
        claim="A host that has never received data has no estimate to delay an ACK by: it acknowledges the"
        " FIN at the next tick of the kernel's clock.",
        play=close_without_data,
        a=client(**first("fin-4", states=connected(*ACTIVE), bytes_sent=0)),
        b=server(**second("fin-4", states=accepted(*PASSIVE), bytes_received=0)),
        events={"a": {"entered": 1}},
        wire={**ONE_FIN_EACH, "DATA": 0, "B>A PURE": 1},
        order=FOUR_FROM_A,
        counters={"a": {"TW": born(1)}, "b": {"TW": 0, "DelayedACKs": 1}},
    ),
    Scenario(
        name="simultaneous-close",
        claim="Both FINs cross on the way: CLOSING at both ends, and both carry TIME_WAIT.",
        play=cross,
        # Held for long on a slow machine, a FIN is sent again as a tail loss probe.
        a=client(**simultaneous(states=connected(*SIMULTANEOUS), retransmits={})),
        b=server(**simultaneous(states=accepted(*SIMULTANEOUS), retransmits={})),
        events={"a": {"entered": 1}, "b": {"entered": 1}},
        wire={"A>B FIN": at_least(1), "B>A FIN": at_least(1), "RST": 0},
        counters={"a": {"TW": born(1), "OutRsts": 0}, "b": {"TW": born(1), "OutRsts": 0}},
        timewait={"a": {"sockets": {"time_wait": 1}}, "b": {"sockets": {"time_wait": 1}}},
    ),
    Scenario(
        name="half-close",
        claim="After shutdown(SHUT_WR) data still comes in, and it is not late data.",
        play=half_close,
        a=client(**first("fin-4", states=connected(*ACTIVE), bytes_sent=5, bytes_received=3)),
        b=server(**second("fin-4", states=accepted(*PASSIVE), bytes_sent=3, bytes_received=5)),
        events={"a": {"entered": 1}},
        wire=ONE_FIN_EACH,
        order=("A>B FIN", "B>A DATA", "B>A FIN", "A>B PURE"),
        counters={"a": {"TW": born(1), "OutRsts": 0, "TCPAbortOnData": 0}},
    ),
    Scenario(
        name="fin-lost-once",
        claim="The kernel retransmits a lost FIN, and the close is orderly all the same.",
        play=lose_fin,
        a=client(**{**first("fin-4", states=connected(*ACTIVE)), "retransmits": AGAIN}),
        b=server(**second("fin-4", states=accepted(*PASSIVE))),
        events={"a": {"entered": 1}},
        wire={"A>B FIN": at_least(2), "B>A FIN": 1, "RST": 0},
        order=("A>B FIN", "A>B FIN", "B>A PURE", "B>A FIN", "A>B PURE"),
        counters={"a": {"TW": born(1), "RetransSegs": at_least(1)}},
        seconds=0.8,
    ),
    Scenario(
        name="last-ack-lost-once",
        claim="The last ACK is lost, the peer retransmits its FIN, and TIME_WAIT acknowledges once"
        " more: that is what it is for.",
        play=lose_last_ack,
        a=client(**first("fin-4", states=connected(*ACTIVE))),
        b=server(**{**second("fin-4", states=accepted(*PASSIVE)), "retransmits": AGAIN}),
        events={"a": {"entered": 1, "reacked": at_least(1)}},
        wire={"A>B FIN": 1, "B>A FIN": at_least(2), "RST": 0},
        order=("A>B FIN", "B>A FIN", "A>B PURE", "B>A FIN", "A>B PURE"),
        counters={"a": {"TW": born(1)}, "b": {"RetransSegs": at_least(1)}},
        seconds=0.8,
    ),
)
