# SPDX-License-Identifier: Apache-2.0
"""Whose connection it was: the process that held the socket, or nobody rather than somebody else."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tracetw.lab.expect.lines import born, client, connected, got_reset, server
from tracetw.lab.expect.match import SOME, accepted, one_of
from tracetw.lab.expect.scenario import Expectation, Play, Scenario
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually
from tracetw.lab.scenarios.exits import connect
from tracetw.lab.scenarios.moves import abort, meet_nobody, serve

__all__ = ["SCENARIOS"]

TCP_USER_TIMEOUT = 18

RESET_BY_US: dict[str, Any] = {"verdict": "abort-linger", "form": "rst-sent"}
NEVER_CLOSED = got_reset(
    ack=True, states=accepted("CLOSE"), owner_from=one_of("io", "listener", "diag", "connect")
)
RESET_WIRE = {"A>B RST ACK": 1, "B>A RST": 0, "FIN": 0}
COUNTED = {"b": {"EstabResets": 1}}


def reset(net: Net, end: socket.socket) -> None:
    """A resets the connection, and B's end is dead."""
    abort(end)
    eventually(lambda: net.b.states() == [])
    net.step("A has aborted; B's process still holds the dead socket")


@contextmanager
def busy(net: Net) -> Iterator[None]:
    """Every processor runs somebody else."""
    with ExitStack() as stack:
        for number in range(os.cpu_count() or 1):
            bystander = net.actor(net.a, f"bystander{number}")
            stack.callback(bystander.kill)
            bystander.order("spin")
        yield


def holds_on(net: Net) -> None:
    process, end = serve(net, "holds-on")
    reset(net, end)
    net.learn("b", process.owner())


def never_reads(net: Net) -> None:
    process = net.actor(net.b, "never-reads")
    process.listen(net.family)
    end = net.client()
    end.connect(net.server)
    process.do("accept")
    reset(net, end)
    net.learn("b", process.owner())


def closes_in_time(net: Net) -> None:
    process, end = serve(net, "closes")
    reset(net, end)
    process.do("close")
    net.learn("b", process.owner())


def closes_too_late(net: Net) -> None:
    process, end = serve(net, "closes-late")
    reset(net, end)
    eventually(lambda: net.reported("b") == 1)
    net.step("the connection is reported; only now B's process closes")
    process.do("close")
    net.learn("b", process.owner())


def child_closes(net: Net) -> None:
    process, end = serve(net, "parent")
    process.hand_over("child")
    process.do("close")
    eventually(lambda: net.b.states() == ["FIN_WAIT2"])
    end.close()
    eventually(lambda: net.b.states() == ["TIME_WAIT"])
    net.learn("b", process.owner())


def child_is_reset(net: Net) -> None:
    process, end = serve(net, "parent")
    process.hand_over("child")
    reset(net, end)
    net.learn("b", process.owner())


def worker_accepts(net: Net) -> None:
    process = net.actor(net.b, "master")
    process.listen(net.family)
    process.hand_over("worker", keep_listener=True)
    end = net.client()
    end.connect(net.server)
    process.do("accept")
    reset(net, end)
    net.learn("b", process.owner())


def timer_on_a_busy_machine(net: Net) -> None:
    process, end = connect(net, "times-out")
    process.do("option", socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 1000)
    drop = net.drop(net.b)
    with busy(net):
        process.do("send", "hello")
        eventually(lambda: net.a.states() == [])
    meet_nobody(net, end, drop)
    net.learn("a", process.owner())


def orphan_on_a_busy_machine(net: Net) -> None:
    process, end = connect(net, "has-gone")
    drop = net.drop(net.b)
    with busy(net):
        process.do("close")
        process.kill()
        eventually(lambda: net.a.states() == [])
    meet_nobody(net, end, drop)
    net.learn("a", process.owner())


def reset_by_a(
    name: str,
    claim: str,
    play: Play,
    b: Expectation = NEVER_CLOSED,
    *,
    seconds: float = 0.5,
) -> Scenario:
    """A aborts; the scenario is about the owner of B's end."""
    return Scenario(
        name=name,
        claim=claim,
        play=play,
        a=client(**RESET_BY_US),
        b=server(**b),
        wire=RESET_WIRE,
        counters=COUNTED,
        seconds=seconds,
    )


SCENARIOS = (
    reset_by_a(
        "reset-and-never-closed",
        "A process never closes a dead socket: tracetw finds the owner among the descriptors.",
        holds_on,
        seconds=2,
    ),
    reset_by_a(
        "reset-and-never-touched",
        "A process accepted a connection and never read nor closed it: tracetw finds the owner among the descriptors.",
        never_reads,
        seconds=2,
    ),
    reset_by_a(
        "reset-then-closed",
        "The process sees the error of a reset and closes: the usual case.",
        closes_in_time,
        # On a busy machine it may close after the 0.2 s for which the tracer waits.
        {**got_reset(ack=True), "owner_from": one_of("close", "diag")},
    ),
    reset_by_a(
        "reset-then-closed-late",
        "The process closes after tracetw reported the reset: there is no second line.",
        closes_too_late,
        seconds=2,
    ),
    Scenario(
        name="passed-to-child",
        claim="A pre-forked child closes what its parent accepted: the owner is the child.",
        play=child_closes,
        a=client(verdict="orderly", first_close="remote"),
        b=server(verdict="orderly", first_close="local", owner_from="close"),
        wire={"B>A FIN": 1, "A>B FIN": 1, "RST": 0},
        order=("B>A FIN", "A>B FIN", "B>A PURE"),
        counters={"b": {"TW": born(1)}},
    ),
    reset_by_a(
        "passed-to-child-and-reset",
        "The peer resets a connection that a pre-forked child holds: the owner is the child.",
        child_is_reset,
        seconds=2,
    ),
    reset_by_a(
        "accepted-by-worker",
        "The listener belongs to the master, the connection to the worker that accepted it.",
        worker_accepts,
        seconds=2,
    ),
    Scenario(
        name="timer-on-busy-machine",
        claim="A timer fires while another process runs: that process is not the owner.",
        play=timer_on_a_busy_machine,
        a=client(verdict="user-timeout", states=connected("CLOSE"), owner_from=SOME),
        b=server(**got_reset("peer-lost-state", ack=False)),
        wire={"A>B DATA": one_of(2, 3, 4, 5), "A>B RST !ACK": 1},
        counters={"a": {"TCPAbortOnTimeout": 1}},
        seconds=3,
    ),
    Scenario(
        name="orphan-on-busy-machine",
        claim="The process has exited when the timer ends its orphan: the line still names it.",
        play=orphan_on_a_busy_machine,
        sysctls={"a": {"tcp_orphan_retries": 1}},
        a=client(verdict="fin-exhausted", owner_from="close"),
        b=server(**got_reset("peer-lost-state", ack=False)),
        wire={"A>B FIN": one_of(2, 3, 4, 5), "A>B RST !ACK": 1},
        counters={"a": {"TCPAbortOnTimeout": 1}},
        seconds=3,
    ),
)
