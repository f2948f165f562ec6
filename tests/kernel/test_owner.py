# SPDX-License-Identifier: Apache-2.0
"""Whose connection it was: the process that held the socket, or nobody rather than somebody else."""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Any

from tests.kernel.kit.expect import (
    SOME,
    accepted,
    at_least,
    between,
    differences,
    one_of,
    path,
)
from tests.kernel.kit.host import PORT
from tests.kernel.kit.lines import ALWAYS, client, connected, got_reset, server
from tests.kernel.kit.polling import eventually
from tests.kernel.kit.processes import Actor
from tests.kernel.kit.stage import Facts, Registry, Scenario, Stage
from tests.kernel.kit.topology import Pair
from tests.kernel.kit.tracer import Tracer

SCENARIOS = Registry()

LINGER_0 = struct.pack("ii", 1, 0)
TCP_USER_TIMEOUT = 18
# The tracer waits about a second for the owner of a dead socket to close it.
PATIENCE_S = 2.0

RESET_BY_US: dict[str, Any] = {"verdict": "abort-linger", "form": "rst-sent"}
NEVER_CLOSED = got_reset(
    ack=True, states=accepted("CLOSE"), owner_from=one_of("io", "listener", "diag", "connect")
)


def serve(pair: Pair, comm: str) -> tuple[Actor, socket.socket]:
    """A process on B that accepted a connection of ours from A and read from it."""
    process = pair.actor(pair.b, comm)
    process.listen()
    end = pair.keep(pair.a.tcp_socket())
    end.connect((pair.b.addresses[4], PORT))
    process.do("accept")
    end.sendall(b"hello")
    assert process.do("receive") == "hello"
    return process, end


def reset(pair: Pair, end: socket.socket) -> None:
    """A resets the connection, and B's end is dead."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    end.close()
    eventually(lambda: pair.b.states() == [])


@SCENARIOS.add(a=client(**RESET_BY_US), b=server(**NEVER_CLOSED), counted_b={"EstabResets": 1})
def reset_and_never_closed(pair: Pair) -> Facts:
    process, end = serve(pair, "holds-on")
    reset(pair, end)
    return {"b": process.owner()}


@SCENARIOS.add(a=client(**RESET_BY_US), b=server(**NEVER_CLOSED), counted_b={"EstabResets": 1})
def reset_and_never_touched(pair: Pair) -> Facts:
    """Accepted, then neither read nor closed: there is no call to learn the owner from."""
    process = pair.actor(pair.b, "never-reads")
    process.listen()
    end = pair.keep(pair.a.tcp_socket())
    end.connect((pair.b.addresses[4], PORT))
    process.do("accept")
    reset(pair, end)
    return {"b": process.owner()}


@SCENARIOS.add(
    a=client(**RESET_BY_US),
    b=server(**got_reset(ack=True), owner_from="close"),
    counted_b={"EstabResets": 1},
)
def reset_then_closed(pair: Pair) -> Facts:
    process, end = serve(pair, "closes")
    reset(pair, end)
    process.do("close")
    return {"b": process.owner()}


@SCENARIOS.add(a=client(**RESET_BY_US), b=server(**NEVER_CLOSED))
def reset_then_closed_too_late(pair: Pair) -> Facts:
    """Reported before the application closes, and not again when it does."""
    process, end = serve(pair, "closes-late")
    reset(pair, end)
    time.sleep(PATIENCE_S)  # what is tested is a time: longer than the tracer waits
    process.do("close")
    return {"b": process.owner()}


@SCENARIOS.add(
    a=client(verdict="orderly", first_close="remote"),
    b=server(verdict="orderly", first_close="local", owner_from="close"),
)
def passed_to_child_that_closes(pair: Pair) -> Facts:
    process, end = serve(pair, "parent")
    process.hand_over("child")
    process.do("close")
    eventually(lambda: pair.b.states() == ["FIN_WAIT2"])
    end.close()
    eventually(lambda: pair.b.states() == ["TIME_WAIT"])
    return {"b": process.owner()}


@SCENARIOS.add(a=client(**RESET_BY_US), b=server(**NEVER_CLOSED), counted_b={"EstabResets": 1})
def passed_to_child_and_reset(pair: Pair) -> Facts:
    process, end = serve(pair, "parent")
    process.hand_over("child")
    reset(pair, end)
    return {"b": process.owner()}


@SCENARIOS.add(a=client(**RESET_BY_US), b=server(**NEVER_CLOSED), counted_b={"EstabResets": 1})
def accepted_by_worker(pair: Pair) -> Facts:
    """The listener was made by the parent, which still holds it; a worker accepted."""
    process = pair.actor(pair.b, "master")
    process.listen()
    process.hand_over("worker", keep_listener=True)
    end = pair.keep(pair.a.tcp_socket())
    end.connect((pair.b.addresses[4], PORT))
    process.do("accept")
    reset(pair, end)
    return {"b": process.owner()}


@SCENARIOS.add(
    a=client(verdict="user-timeout", states=connected("CLOSE"), owner_from=SOME),
    b=server(**got_reset("peer-lost-state", ack=False)),
    counted_a={"TCPAbortOnTimeout": 1},
)
def timer_on_a_busy_machine(pair: Pair) -> Facts:
    """Every processor runs somebody else when the timer ends the connection."""
    for number in range(os.cpu_count() or 1):
        pair.actor(pair.a, f"bystander{number}").order("spin")
    listener = pair.keep(pair.b.listen())
    process = pair.actor(pair.a, "times-out")
    process.connect(pair.b.addresses[4])
    end = pair.keep(listener.accept()[0])
    process.do("option", socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 1000)
    drop = pair.drop(pair.b)
    process.do("send", "hello")
    eventually(lambda: pair.a.states() == [])
    drop.lift()
    end.sendall(b"anyone?")
    eventually(lambda: pair.b.states() == [])
    end.close()
    return {"a": process.owner()}


@SCENARIOS.add(
    a=client(verdict="fin-exhausted", owner_from="close"),
    b=server(**got_reset("peer-lost-state", ack=False)),
    counted_a={"TCPAbortOnTimeout": 1},
)
def orphan_on_a_busy_machine(pair: Pair) -> Facts:
    """The process closed and has even gone when the timer ends the connection."""
    pair.a.sysctl(tcp_orphan_retries=1)
    for number in range(os.cpu_count() or 1):
        pair.actor(pair.a, f"bystander{number}").order("spin")
    listener = pair.keep(pair.b.listen())
    process = pair.actor(pair.a, "has-gone")
    process.connect(pair.b.addresses[4])
    end = pair.keep(listener.accept()[0])
    drop = pair.drop(pair.b)
    process.do("close")
    process.kill()
    eventually(lambda: pair.a.states() == [])
    drop.lift()
    end.sendall(b"anyone?")
    eventually(lambda: pair.b.states() == [])
    end.close()
    return {"a": process.owner()}


def test_both_ends(scenario: Scenario, stage: Stage) -> None:
    """The owner is the process that held the socket, however the connection ended."""
    stage.check(scenario)


OLD: dict[str, Any] = {**ALWAYS, "duration_ms": None, "confidence": SOME}


def test_older_than_the_trace() -> None:
    """Connections that existed before: their owner is looked up, never invented."""
    with Pair() as closed, Pair() as was_reset, Pair() as orphaned:
        closes, closed_end = serve(closed, "old-closes")
        holds, reset_end = serve(was_reset, "old-holds")
        orphaned.b.sysctl(tcp_orphan_retries=4, tcp_rto_max_ms=1000)
        gone, orphan_end = serve(orphaned, "old-gone")
        orphaned.drop(orphaned.a)
        gone.do("close")
        gone.kill()
        with Tracer() as tracer:
            assert orphaned.b.states() == ["FIN_WAIT1"], "the orphan died before the trace began"
            closes.do("close")
            eventually(lambda: closed.b.states() == ["FIN_WAIT2"])
            closed_end.close()
            reset(was_reset, reset_end)
            lines = {
                "closed": tracer.close_of(closed.b.netns),
                "reset": tracer.close_of(was_reset.b.netns),
                "orphan": tracer.close_of(orphaned.b.netns, 15.0),
            }
            tracer.stop()
        assert orphan_end.fileno() >= 0
    wanted = {
        "closed": OLD
        | {"verdict": "orderly", "first_close": "local", "time_wait": "local"}
        | {"owner_from": "close", "states": path("FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")}
        | {"bytes_received": 5, "bytes_sent": 0}
        | closes.owner(),
        "reset": OLD
        | {"verdict": "peer-reset", "first_close": "remote", "owner_from": "diag"}
        | {"reset": {"direction": "received"}, "error": "ECONNRESET"}
        | holds.owner(),
        "orphan": OLD
        | {"verdict": "fin-exhausted", "form": "timeout", "states": path("CLOSE")}
        | {"pid": None, "comm": None, "owner_from": None}
        | {"retransmits": {"fin": at_least(1), "total": at_least(1)}}
        | {"limit": {"name": "tcp_orphan_retries", "value": 4, "elapsed_ms": between(1000, 9000)}},
    }
    wrong = [
        f"{name}: {text}"
        for name, expected in wanted.items()
        for text in differences(expected, lines[name])
    ]
    assert not wrong, "\n".join(wrong)
