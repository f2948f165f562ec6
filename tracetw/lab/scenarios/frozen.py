# SPDX-License-Identifier: Apache-2.0
"""Peers that stand still for a while: a process that does not run, a host that takes no packets.

A frozen process (SIGSTOP, a debugger, the freezer of a control group) leaves its kernel at work: it
acknowledges, takes what its buffers hold, and answers every probe. A frozen host (a paused virtual
machine, a long migration) answers nothing, but loses nothing either: what was sent to it waits on the
way and arrives, late and in order, when it goes on. Its own timers are not stopped here; an idle
connection has none.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tracetw.lab.expect.lines import (
    FORGETS,
    FORGOTTEN,
    LEFT_BEHIND,
    born,
    client,
    connected,
    first,
    got_reset,
    limit,
    second,
    server,
    timed_out,
)
from tracetw.lab.expect.match import SOME, accepted, at_least
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.actor_process import Actor
from tracetw.lab.net.fault import PURE_ACKS, held
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, fails, require
from tracetw.lab.scenarios.moves import close_in_turn, pause, serve, talk

__all__ = ["SCENARIOS"]

PROBES = 4
"""More unanswered ones would end the connection: twice as many as its limit."""
RETRIES = 2
FILL = 4096
OUTAGE_S = 2.0
"""Longer than the limits with which a connection that has sent something is given up here."""
KEEPALIVE = {
    socket.TCP_KEEPIDLE: 1,
    socket.TCP_KEEPINTVL: 1,
    socket.TCP_KEEPCNT: 1,
}


def freeze(net: Net, process: Actor) -> None:
    process.freeze()
    net.step("B's process stands still")


@contextmanager
def stands_still(net: Net, process: Actor) -> Iterator[None]:
    """B's process does not run, and packets to B wait in the router; then both go on."""
    freeze(net, process)
    with held(net.r, net.b, net.family, ifname="eth1"):
        net.step("packets to B wait in the router")
        yield
    process.thaw()
    net.step("B goes on, and what waited arrives")


def fill(end: socket.socket) -> None:
    """Send until nothing more is taken."""
    end.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            end.send(bytes(FILL))
    end.settimeout(15.0)


def keep_alive(end: socket.socket) -> None:
    for name, value in KEEPALIVE.items():
        end.setsockopt(socket.IPPROTO_TCP, name, value)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def time_out(end: socket.socket) -> None:
    """A's application waits until its connection is given up."""
    with fails(TimeoutError):
        end.recv(100)
    end.close()


def is_reset(process: Actor) -> None:
    """B's process reads until it learns of the reset, then closes."""
    process.order("close_at_end")
    try:
        process.answer()
    except OSError:
        process.do("close")
    else:
        require(condition=False, words="B's process did not see a reset")


def close_both(net: Net, process: Actor, end: socket.socket) -> None:
    """A closes; B's process reads to the end and closes."""
    process.order("close_at_end")
    end.close()
    process.answer()
    eventually(lambda: net.a.states() == ["TIME_WAIT"])
    eventually(lambda: net.b.states() == [])
    net.learn("b", process.owner())


def outlive_window(net: Net) -> None:
    process, end = serve(net, "frozen")
    freeze(net, process)
    fill(end)
    eventually(lambda: net.a.counters()["TCPWinProbe"] >= PROBES, what="A probes B's window")
    require(net.a.states() == ["ESTABLISHED"], "A gave up")
    net.step(f"{PROBES} window probes were answered: B's kernel lives")
    process.thaw()
    net.step("B's process goes on")
    close_both(net, process, end)


def run_out_of_patience(net: Net) -> None:
    process, end = serve(net, "frozen")
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1500)
    freeze(net, process)
    fill(end)
    time_out(end)
    net.step("A has given up; B's process goes on and reads")
    process.thaw()
    is_reset(process)
    net.learn("b", process.owner())


def outlive_keepalive(net: Net) -> None:
    process, end = serve(net, "frozen")
    keep_alive(end)
    freeze(net, process)
    eventually(lambda: net.a.counters()["TCPKeepAlive"] >= PROBES - 1, what="A's probes")
    require(net.a.states() == ["ESTABLISHED"], "A gave up")
    net.step("every keepalive probe was answered")
    process.thaw()
    close_both(net, process, end)


def sleep_through_an_outage(net: Net) -> None:
    link = net.connect()
    talk(link)
    sent = net.a.counters()["OutSegs"]
    drop = net.drop(net.b)
    pause(OUTAGE_S)
    require(net.a.counters()["OutSegs"] == sent, "A sent something")
    require(net.a.states() == ["ESTABLISHED"], "A's connection has ended")
    net.step(f"B was away for {OUTAGE_S:g} s; A has sent nothing and has noticed nothing")
    drop.lift()
    talk(link)
    net.step("B is there again, and the connection works")
    close_in_turn(net, net.a, link.a, link.b)
    eventually(lambda: net.b.states() == [])


def close_towards_frozen(net: Net) -> None:
    process, end = serve(net, "frozen")
    freeze(net, process)
    end.close()
    net.step("A has closed; B's kernel acknowledges, B's process sees nothing")
    eventually(lambda: net.a.states() == [])
    process.thaw()
    net.step("A has forgotten the connection; B's process goes on and closes")
    process.do("close")
    eventually(lambda: net.b.states() == [])
    net.learn("b", process.owner())


def thaw_in_time(net: Net) -> None:
    process, end = serve(net, "frozen")
    with stands_still(net, process):
        before = net.a.counters()["RetransSegs"]
        end.sendall(b"again")
        eventually(lambda: net.a.counters()["RetransSegs"] > before, what="A's retransmission")
    require(process.do("receive") == "again", "the process did not receive")
    eventually(lambda: net.a.counters()["TCPDSACKRecv"], what="B tells A of the duplicate")
    close_both(net, process, end)


def thaw_too_late(net: Net) -> None:
    process, end = serve(net, "frozen")
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000)
    with stands_still(net, process):
        end.sendall(b"again")
        time_out(end)
        net.step("A has given up")
    is_reset(process)
    net.learn("b", process.owner())


def thaw_after_keepalive(net: Net) -> None:
    process, end = serve(net, "frozen")
    with stands_still(net, process):
        keep_alive(end)
        time_out(end)
        net.step("A has given up and has sent RST, which waits behind the probe")
        # Else A, which has no connection any more, would answer B's answer with another RST.
        net.drop(net.a, PURE_ACKS)
    is_reset(process)
    net.learn("b", process.owner())


A_FIRST = {**first("fin-4"), "form": SOME}
B_SECOND = {**second("fin-4"), "form": SOME}

SCENARIOS = (
    Scenario(
        name="frozen-process-window",
        claim="A stopped process is no dead peer: its kernel answers every probe of the closed"
        " window, and tcp_retries2 never runs out.",
        play=outlive_window,
        sysctls={"a": {"tcp_retries2": RETRIES}},
        a=client(**{**A_FIRST, "retransmits": {"fin": 0}}),
        b=server(**{**B_SECOND, "retransmits": {"fin": 0}}),
        events={"a": {"entered": 1}},
        wire={"B>A ZERO": at_least(PROBES), "A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        order=("B>A ZERO", "A>B PURE", "B>A ZERO", "A>B PURE", "B>A ZERO", "A>B FIN", "B>A FIN"),
        counters={"a": {"TCPWinProbe": at_least(PROBES), "TCPAbortOnTimeout": 0, "TW": born(1)}},
        seconds=4,
    ),
    Scenario(
        name="frozen-process-user-timeout",
        claim="TCP_USER_TIMEOUT counts how long the peer's window was closed, answered or not.",
        play=run_out_of_patience,
        a=client(
            **timed_out("user-timeout", states=connected("CLOSE")),
            limit=limit("TCP_USER_TIMEOUT", 1500, 1400, 20_000),
        ),
        b=server(**LEFT_BEHIND),
        wire={"B>A ZERO": at_least(2), "A>B RST !ACK": at_least(1), "FIN": 0},
        order=("B>A ZERO", "A>B PURE", "B>A ZERO", "B>A PURE", "A>B RST"),
        counters={"a": {"TCPAbortOnTimeout": 1, "TCPWinProbe": at_least(2)}},
        seconds=3,
    ),
    Scenario(
        name="frozen-process-keepalive",
        claim="Keepalive finds dead hosts, not stuck programs: the kernel answers for a stopped"
        " process.",
        play=outlive_keepalive,
        a=client(**A_FIRST),
        b=server(**B_SECOND),
        events={"a": {"entered": 1}},
        wire={"A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        order=("A>B PURE", "B>A PURE", "A>B PURE", "B>A PURE", "A>B FIN", "B>A FIN"),
        counters={
            "a": {"TCPKeepAlive": at_least(PROBES - 1), "TCPAbortOnTimeout": 0, "TW": born(1)}
        },
        seconds=4,
    ),
    Scenario(
        name="dead-while-idle",
        claim="An idle connection sends nothing, so it does not notice that its peer is away, not even after"
        " longer than its limits allow.",
        play=sleep_through_an_outage,
        sysctls={"a": {"tcp_retries2": RETRIES}},
        a=client(**first("fin-4", bytes_sent=10, bytes_received=6)),
        b=server(**second("fin-4", bytes_sent=6, bytes_received=10)),
        events={"a": {"entered": 1}},
        wire={"A>B DATA": 2, "B>A DATA": 2, "A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        order=("B>A DATA", "A>B DATA", "B>A DATA", "A>B FIN", "B>A FIN"),
        counters={
            "a": {"TCPKeepAlive": 0, "RetransSegs": 0, "TCPAbortOnTimeout": 0, "TW": born(1)}
        },
        seconds=2.5,
    ),
    Scenario(
        name="frozen-process-fin-wait2",
        claim="The peer's kernel acknowledged a FIN that its stopped process never sees: FIN_WAIT2"
        " runs out.",
        play=close_towards_frozen,
        sysctls={"a": {"tcp_fin_timeout": 1}},
        a=client(**FORGETS, limit=limit("tcp_fin_timeout", 1, 900, 20_000)),
        b=server(**FORGOTTEN),
        events={"a": {"fin-wait2": 1, "entered": 0}},
        wire={"A>B FIN": 1, "B>A FIN": 1, "A>B RST": 1},
        order=("A>B FIN", "B>A PURE", "B>A FIN", "A>B RST"),
        counters={"a": {"OutRsts": 1, "TW": 0, "TWKilled": 1}},
        seconds=1.5,
    ),
    Scenario(
        name="frozen-host-thaws-in-time",
        claim="A frozen host loses nothing: retransmissions arrive twice, DSACK reports them as"
        " duplicates, and the close is orderly.",
        play=thaw_in_time,
        nat=True,
        a=client(**{**A_FIRST, "retransmits": {"total": at_least(1), "fin": 0}}),
        b=server(**B_SECOND),
        events={"a": {"entered": 1}},
        wire={"A>B DATA": at_least(3), "A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        order=("A>B DATA", "A>B DATA", "A>B DATA", "B>A PURE", "A>B FIN", "B>A FIN"),
        counters={"a": {"RetransSegs": at_least(1), "TCPDSACKRecv": at_least(1), "TW": born(1)}},
        seconds=1,
    ),
    Scenario(
        name="frozen-host-thaws-too-late",
        claim="A host frozen for longer than its peer waits gets all that the peer sent,"
        " acknowledges it, and gets RST: the peer has given the connection up.",
        play=thaw_too_late,
        nat=True,
        a=client(
            **timed_out("user-timeout", states=connected("CLOSE")),
            limit=limit("TCP_USER_TIMEOUT", 1000, 900, 20_000),
            bytes_unacked=5,
            reset=None,
        ),
        b=server(**LEFT_BEHIND, bytes_received=10),
        wire={"A>B DATA": at_least(3), "A>B RST !ACK": at_least(1), "FIN": 0},
        order=("A>B DATA", "A>B DATA", "B>A PURE", "A>B RST"),
        counters={"a": {"TCPAbortOnTimeout": 1}, "b": {"EstabResets": 1}},
        seconds=2,
    ),
    Scenario(
        name="frozen-host-keepalive",
        claim="Keepalive gave up on a frozen host; the RST of the prober waits in the router, and"
        " the host gets it when it thaws.",
        play=thaw_after_keepalive,
        nat=True,
        a=client(
            **timed_out("keepalive-expired", states=connected("CLOSE")),
            limit=limit("TCP_KEEPCNT", 1, 900, 20_000),
        ),
        b=server(**got_reset(ack=True, states=accepted("CLOSE"))),
        wire={"A>B RST": 1, "A>B RST ACK": 1, "FIN": 0},
        order=("A>B DATA", "A>B PURE", "A>B RST ACK"),
        counters={"a": {"TCPAbortOnTimeout": 1, "TCPKeepAlive": 1}, "b": {"EstabResets": 1}},
        seconds=3,
    ),
)
