# SPDX-License-Identifier: Apache-2.0
"""A machine that goes on: without its cable for a while, asleep, or with another time."""

from __future__ import annotations

import socket
from typing import cast

from tracetw.lab.expect.lines import (
    LEFT_BEHIND,
    client,
    connected,
    first,
    got_reset,
    second,
    server,
)
from tracetw.lab.expect.match import accepted, at_least
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import close_in_turn, see_reset, talk, wait_for_timeout
from tracetw.lab.vagrant.net import Machines
from tracetw.lab.vagrant.play import MachineScenario
from tracetw.lab.vagrant.scenarios.power import GIVEN_UP, connect_with_keepalive

__all__ = ["SCENARIOS"]

AN_HOUR_NS = 3_600_000_000_000


def unplug_the_server(net: Net) -> None:
    """Nothing reaches B, which keeps its end. Plugged in, B sends data, and A's RST ends it."""
    machines = cast("Machines", net)
    link = connect_with_keepalive(net, 3, 2, 3)
    machines.unplug("b")
    wait_for_timeout(link)
    net.step("A's keepalive gave up; its RST is lost, too")
    require(net.b.states() == ["ESTABLISHED"], "B's end is gone, although nothing reached it")
    machines.plug_in("b")
    _ask(net, link.b)
    see_reset(link.b)


def _ask(net: Net, end: socket.socket) -> None:
    end.sendall(b"anyone?")
    net.step("B sends data into the connection that A has given up")


def unplug_for_a_moment(net: Net) -> None:
    """Shorter than the keepalive: data waits and is sent again."""
    machines = cast("Machines", net)
    link = connect_with_keepalive(net, 7200, 75, 9)
    machines.unplug("b")
    link.a.sendall(b"wait for me")
    eventually(lambda: net.a.counters()["RetransSegs"] >= 1, what="A sends again")
    machines.plug_in("b")
    link.b.settimeout(None)
    require(link.b.recv(100) == b"wait for me", "B did not receive")
    net.step("what A had sent has arrived")
    close_in_turn(net, net.a, link.a, link.b)


def sleep_and_wake(net: Net) -> None:
    """As a laptop with its lid closed: A gives up meanwhile, B wakes with a connection that is none."""
    machines = cast("Machines", net)
    link = connect_with_keepalive(net, 3, 2, 3)
    machines.suspend("b")
    wait_for_timeout(link)
    net.step("A's keepalive gave up while B sleeps")
    machines.wake_up("b")
    # Its interface has kept what came meanwhile: the probes, then the RST.
    see_reset(link.b)


def set_the_clock(net: Net) -> None:
    """An hour ahead at B: TCP's timers and timestamps are of another clock and do not care."""
    machines = cast("Machines", net)
    link = net.connect()
    talk(link)
    way = machines.machines["b"].way
    way.ask("clock", way.ask("now") + AN_HOUR_NS)
    net.step("the clock of B jumps an hour ahead")
    link.a.sendall(b"what time is it?")
    require(link.b.recv(100) == b"what time is it?", "B did not receive")
    close_in_turn(net, net.a, link.a, link.b)


ACTIVE = connected("FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")
PASSIVE = accepted("CLOSE_WAIT", "LAST_ACK", "CLOSE")

SCENARIOS = (
    MachineScenario(
        name="link-down",
        claim="The peer's cable is pulled out for longer than keepalive waits: one end gives up, the other learns of"
        " it by a RST when it sends.",
        play=unplug_the_server,
        a=GIVEN_UP,
        b=server(**LEFT_BEHIND),
        capture="a",
        wire={"FIN": 0, "A>B RST ACK": 1, "B>A DATA": at_least(2), "A>B RST !ACK": at_least(1)},
        order=(
            "B>A DATA",
            "A>B PURE",
            "A>B PURE",
            "A>B PURE",
            "A>B RST ACK",
            "B>A DATA",
            "A>B RST",
        ),
        counters={"a": {"TCPAbortOnTimeout": 1}, "b": {"EstabResets": 1}},
        seconds=40,
    ),
    MachineScenario(
        name="link-down-for-a-moment",
        claim="The peer's cable is pulled out and plugged in again: the data is sent again and the connection goes on.",
        play=unplug_for_a_moment,
        a=client(
            **{**first("fin-4", states=ACTIVE), "retransmits": {"total": at_least(1), "fin": 0}}
        ),
        b=server(**second("fin-4", states=PASSIVE)),
        capture="a",
        wire={"RST": 0, "A>B FIN": 1, "B>A FIN": 1, "A>B DATA": at_least(3)},
        counters={"a": {"RetransSegs": at_least(1), "TCPAbortOnTimeout": 0}},
        seconds=30,
    ),
    MachineScenario(
        name="sleeps-too-long",
        claim="A suspended machine sleeps longer than its peer's keepalive waits. It wakes with a connection that is"
        " no more: its interface has kept the RST.",
        play=sleep_and_wake,
        a=GIVEN_UP,
        b=server(**got_reset("peer-reset", ack=True, states=accepted("CLOSE"))),
        capture="a",
        wire={"FIN": 0, "A>B RST ACK": at_least(1)},
        counters={"a": {"TCPAbortOnTimeout": 1}, "b": {"EstabResets": 1}},
        seconds=40,
    ),
    MachineScenario(
        name="clock-jump",
        claim="The clock of one host jumps an hour ahead: its connection goes on, and what tracetw says of it has"
        " durations of the monotonic clock.",
        play=set_the_clock,
        # A slow machine may send its FIN again as a tail loss probe.
        a=client(
            **{**first("fin-4", states=ACTIVE), "retransmits": {}}, bytes_sent=21, bytes_received=3
        ),
        b=server(
            **{**second("fin-4", states=PASSIVE), "retransmits": {}},
            bytes_sent=3,
            bytes_received=21,
        ),
        wire={"A>B FIN": at_least(1), "B>A FIN": at_least(1), "RST": 0},
        counters={"b": {"PAWSEstab": 0, "OutRsts": 0}},
        seconds=20,
    ),
)
