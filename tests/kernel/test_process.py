# SPDX-License-Identifier: Apache-2.0
"""Connections that ended because their process did: by exit, by a signal, by the OOM killer."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.kit import cgroup
from tests.kernel.kit.expect import accepted, differences
from tests.kernel.kit.lines import ALWAYS, QUIET, client, connected, got_reset, sent_reset, server
from tests.kernel.kit.polling import eventually
from tests.kernel.kit.processes import Actor
from tests.kernel.kit.stage import Facts, Registry, Scenario, Stage
from tests.kernel.kit.topology import Pair

SCENARIOS = Registry()

CORE_BYTES = 1 << 20
OOM_LIMIT_BYTES = 48 << 20

DIES: dict[str, Any] = {
    **QUIET,
    "verdict": "orderly",
    "form": "fin-4",
    "first_close": "local",
    "time_wait": "local",
    "owner_from": "close",
    "reset": None,
    "error": None,
    "states": connected("FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"),
}
SURVIVES = server(
    **QUIET,
    verdict="orderly",
    form="fin-4",
    first_close="remote",
    closed_by="peer",
    exit=None,
    time_wait="remote",
    owner_from="close",
    states=accepted("CLOSE_WAIT", "LAST_ACK", "CLOSE"),
)
ORDERLY_COUNTED = {"TW": 1, "OutRsts": 0}


def killed(name: str, *, core: bool = False) -> dict[str, Any]:
    """Fields of a death by a signal."""
    return {"closed_by": "process-crash", "exit": {"signal": name, "core": core}}


def connect(pair: Pair, comm: str, *, unread: bytes = b"") -> tuple[Actor, socket.socket]:
    """A process on A connected to this process on B, with ``unread`` waiting for it."""
    listener = pair.keep(pair.b.listen())
    process = pair.actor(pair.a, comm)
    process.connect(pair.b.addresses[4])
    end = pair.keep(listener.accept()[0])
    if unread:
        end.sendall(unread)
        eventually(lambda: pair.a.unread() == len(unread))
    return process, end


def outlive(pair: Pair, process: Actor, end: socket.socket) -> Facts:
    """B closes after the process on A has gone and its FIN was acknowledged."""
    process.wait()
    eventually(lambda: pair.a.states() == ["FIN_WAIT2"])
    end.close()
    eventually(lambda: pair.a.states() == ["TIME_WAIT"])
    return {"a": process.owner()}


@SCENARIOS.add(
    a=client(**DIES, closed_by="process-exit", exit={"code": 0}),
    b=SURVIVES,
    counted_a=ORDERLY_COUNTED,
)
def exit_0(pair: Pair) -> Facts:
    process, end = connect(pair, "exit-0")
    process.order("exit", 0)
    return outlive(pair, process, end)


@SCENARIOS.add(
    a=client(**DIES, closed_by="process-exit", exit={"code": 3}),
    b=SURVIVES,
    counted_a=ORDERLY_COUNTED,
)
def exit_3(pair: Pair) -> Facts:
    process, end = connect(pair, "exit-3")
    process.order("exit", 3)
    return outlive(pair, process, end)


@SCENARIOS.add(a=client(**DIES, **killed("SIGKILL")), b=SURVIVES, counted_a=ORDERLY_COUNTED)
def sigkill(pair: Pair) -> Facts:
    process, end = connect(pair, "killed")
    process.kill()
    return outlive(pair, process, end)


@SCENARIOS.add(a=client(**DIES, **killed("SIGTERM")), b=SURVIVES, counted_a=ORDERLY_COUNTED)
def sigterm(pair: Pair) -> Facts:
    process, end = connect(pair, "terminated")
    process.order("die", signal.SIGTERM, 0)
    return outlive(pair, process, end)


@SCENARIOS.add(a=client(**DIES, **killed("SIGSEGV")), b=SURVIVES, counted_a=ORDERLY_COUNTED)
def sigsegv(pair: Pair) -> Facts:
    process, end = connect(pair, "crashed")
    process.order("die", signal.SIGSEGV, 0)
    assert not process.dumped_core()
    return outlive(pair, process, end)


@SCENARIOS.add(
    a=client(**DIES, **killed("SIGSEGV", core=True)), b=SURVIVES, counted_a=ORDERLY_COUNTED
)
def sigsegv_with_core(pair: Pair) -> Facts:
    process, end = connect(pair, "dumped")
    process.order("die", signal.SIGSEGV, CORE_BYTES)
    assert process.dumped_core()
    return outlive(pair, process, end)


@SCENARIOS.add(
    a=client(
        **{**sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE"), **killed("SIGKILL")},
        states=connected("CLOSE"),
        owner_from="close",
        bytes_unread=5,
    ),
    b=server(**got_reset(ack=True, states=accepted("CLOSE")), bytes_sent=5),
    counted_a={"OutRsts": 1, "TCPAbortOnClose": 1},
)
def sigkill_with_unread_data(pair: Pair) -> Facts:
    process, end = connect(pair, "killed-unread", unread=b"hello")
    process.kill()
    with pytest.raises(ConnectionResetError):
        end.recv(100)
    end.close()
    return {"a": process.owner()}


EXITS_UNREAD: dict[str, Any] = {
    **sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE"),
    "closed_by": "process-exit",
    "exit": {"code": 0},
}


@SCENARIOS.add(
    a=client(
        **EXITS_UNREAD,
        states=connected("CLOSE"),
        bytes_unread=5,
    ),
    b=server(**got_reset(ack=True, states=accepted("CLOSE")), bytes_sent=5),
    counted_a={"OutRsts": 1, "TCPAbortOnClose": 1},
)
def exit_with_unread_data(pair: Pair) -> Facts:
    process, end = connect(pair, "exit-unread", unread=b"hello")
    process.order("exit", 0)
    with pytest.raises(ConnectionResetError):
        end.recv(100)
    end.close()
    return {"a": process.owner()}


def test_both_ends(scenario: Scenario, stage: Stage) -> None:
    """Who died, and of what, stands beside how the connection was closed."""
    stage.check(scenario)


@pytest.mark.parametrize("controller", [cgroup.version_1, cgroup.version_2])
def test_oom_kill(controller: Callable[[], cgroup.Controller | None], stage: Stage) -> None:
    found = controller()
    if found is None:
        mounted = cgroup.mounted()
        pytest.skip(f"no memory controller of {controller.__name__}: {mounted}")
    pair = stage.pair()
    process, end = connect(pair, "hungry")
    with cgroup.limited(found, OOM_LIMIT_BYTES) as group:
        group.add(process.pid)
        process.order("eat")
        assert process.wait() == -signal.SIGKILL
        assert group.oom_kills() == 1
    outlive(pair, process, end)
    expected = client(
        **DIES,
        pid=process.pid,
        comm=process.comm,
        closed_by="oom-kill",
        exit={"signal": "SIGKILL", "core": False},
    )
    assert differences({**ALWAYS, **expected}, stage.tracer.close_of(pair.a.netns)) == []
    assert differences({**ALWAYS, **SURVIVES}, stage.tracer.close_of(pair.b.netns)) == []
