# SPDX-License-Identifier: Apache-2.0
"""A machine without power, that reboots, or whose kernel panics: what its peer learns, and when."""

from __future__ import annotations

import socket
from functools import partial
from typing import cast

from tracetw.lab.expect.lines import client, connected, got_reset, limit, timed_out
from tracetw.lab.expect.match import at_least
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import see_reset, talk, wait_for_timeout
from tracetw.lab.scenarios.timeout import KEEPALIVE_RESET
from tracetw.lab.vagrant.net import Machines
from tracetw.lab.vagrant.play import MachineScenario

__all__ = ["GIVEN_UP", "SCENARIOS", "connect_with_keepalive"]

HOUR_MS = 3_600_000


def remember_neighbours(net: Machines) -> None:
    """A does not ask for link addresses meanwhile: a dead neighbour would be an error of its own (EHOSTUNREACH)."""
    device = net.machines["a"].device
    net.a.sysctl(**{f"neigh/{device}/base_reachable_time_ms": HOUR_MS})


def connect_with_keepalive(net: Net, idle_s: int, interval_s: int, count: int) -> Link:
    """A connection with data both ways, idle from now on, that A probes."""
    remember_neighbours(cast("Machines", net))
    link = net.connect(TCP_KEEPIDLE=idle_s, TCP_KEEPINTVL=interval_s, TCP_KEEPCNT=count)
    talk(link)
    link.a.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.a.settimeout(None)
    return link


def cut_while_idle(net: Net) -> None:
    link = connect_with_keepalive(net, 3, 2, 3)
    cast("Machines", net).cut_power("b")
    wait_for_timeout(link)
    net.step("A's keepalive gave up")


def cut_under_data(net: Net) -> None:
    link = connect_with_keepalive(net, 60, 60, 1)
    machines = cast("Machines", net)
    machines.cut_power("b")
    link.a.sendall(b"are you there?")
    net.step("A sends to a machine without power")
    wait_for_timeout(link)
    net.step("A's retransmissions gave up")


def reboot_then_data(net: Net) -> None:
    link = connect_with_keepalive(net, 7200, 75, 9)
    machines = cast("Machines", net)
    machines.reset("b")
    machines.await_boot("b")
    require(net.a.states() == ["ESTABLISHED"], "A learnt of the reboot before it sent anything")
    link.a.sendall(b"anyone?")
    net.step("A sends data to the machine that has booted")
    see_reset(link.a)


def reboot_within_keepalive(net: Net) -> None:
    """Probes are lost while B boots; the first that it answers is answered with a RST."""
    link = connect_with_keepalive(net, 5, 5, 120)
    machines = cast("Machines", net)
    machines.reset("b")
    see_reset(link.a)
    net.step("A's probe was answered with a RST")
    machines.await_boot("b")


def reboot_after_keepalive(net: Net) -> None:
    link = connect_with_keepalive(net, 2, 1, 3)
    machines = cast("Machines", net)
    machines.reset("b")
    wait_for_timeout(link)
    net.step("A's keepalive gave up while B boots")
    machines.await_boot("b")


def panic_then_data(net: Net) -> None:
    link = connect_with_keepalive(net, 7200, 75, 9)
    machines = cast("Machines", net)
    machines.panic("b")
    require(net.a.states() == ["ESTABLISHED"], "A learnt of the panic")
    machines.reset("b")
    machines.await_boot("b")
    require(net.a.states() == ["ESTABLISHED"], "A learnt of the panic before it sent anything")
    link.a.sendall(b"anyone?")
    net.step("A sends data to the machine that has booted")
    see_reset(link.a)
    eventually(lambda: net.a.states() == [])


GIVEN_UP = client(
    **timed_out("keepalive-expired", states=connected("CLOSE")),
    limit=limit("TCP_KEEPCNT", 3, 5000, 30_000),
    probes={"total": 3, "what": "keepalive"},
    reset=KEEPALIVE_RESET,
)
LOST_STATE = client(**got_reset("peer-lost-state", ack=False, states=connected("CLOSE")))

_stopped = partial(MachineScenario, b=None, cut=("b",), capture="a", seconds=90)
"""B stops, and A is the one that can tell."""

SCENARIOS = (
    _stopped(
        name="power-cut-keepalive",
        claim="The power of an idle peer is cut: nothing is on the wire, and only keepalive finds out.",
        play=cut_while_idle,
        a=GIVEN_UP,
        wire={"FIN": 0, "B>A RST": 0, "A>B RST ACK": 1, "A>B DATA": 1},
        order=("B>A DATA", "A>B PURE", "A>B PURE", "A>B PURE", "A>B RST ACK"),
        counters={"a": {"TCPAbortOnTimeout": 1, "TCPKeepAlive": 3}},
    ),
    _stopped(
        name="power-cut-data-in-flight",
        claim="The power of a peer is cut and there is something to send: the retransmissions give up, without a"
        " packet.",
        play=cut_under_data,
        sysctls={"a": {"tcp_retries2": 4}},
        a=client(
            **timed_out("retransmit-exhausted", states=connected("CLOSE")),
            limit=limit("tcp_retries2", 4, 3000, 60_000),
            bytes_unacked=14,
            reset=None,
        ),
        wire={"FIN": 0, "RST": 0, "A>B DATA": at_least(5)},
        counters={"a": {"TCPAbortOnTimeout": 1, "RetransSegs": at_least(4)}},
    ),
    _stopped(
        name="reboot-then-data",
        claim="The peer reboots in silence: the connection is ESTABLISHED until data is sent, and then a RST says"
        " that nobody knows it.",
        play=reboot_then_data,
        a=LOST_STATE,
        wire={"FIN": 0, "B>A RST !ACK": 1, "A>B RST": 0},
        order=("B>A DATA", "A>B DATA", "B>A RST !ACK"),
        counters={"a": {"EstabResets": 1}},
    ),
    _stopped(
        name="reboot-within-keepalive",
        claim="The peer has booted before keepalive gives up: it answers a probe with a bare RST.",
        play=reboot_within_keepalive,
        a=LOST_STATE,
        wire={"FIN": 0, "B>A RST !ACK": 1, "A>B RST": 0},
        order=("B>A DATA", "A>B PURE", "A>B PURE", "B>A RST !ACK"),
        counters={"a": {"EstabResets": 1, "TCPKeepAlive": at_least(2)}},
    ),
    _stopped(
        name="reboot-after-keepalive",
        claim="The peer needs longer to boot than keepalive waits: the connection is given up, as after a power cut.",
        play=reboot_after_keepalive,
        a=client(
            **timed_out("keepalive-expired", states=connected("CLOSE")),
            limit=limit("TCP_KEEPCNT", 3, 3000, 30_000),
            reset=KEEPALIVE_RESET,
        ),
        wire={"FIN": 0, "B>A RST": 0, "A>B RST ACK": 1},
        counters={"a": {"TCPAbortOnTimeout": 1, "TCPKeepAlive": 3}},
    ),
    _stopped(
        name="kernel-panic",
        claim="The peer's kernel panics: no FIN, no RST. It is reset, and data that is sent later meets a kernel that"
        " knows nothing.",
        play=panic_then_data,
        a=LOST_STATE,
        wire={"FIN": 0, "B>A RST !ACK": 1, "A>B RST": 0},
        counters={"a": {"EstabResets": 1}},
    ),
)
