# SPDX-License-Identifier: Apache-2.0
"""Connections that ended because their process did, or did not although it did."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tracetw.lab.expect.lines import QUIET, born, client, connected, got_reset, sent_reset, server
from tracetw.lab.expect.match import ANYTHING, accepted, at_least
from tracetw.lab.expect.scenario import Count, Expectation, Play, Scenario
from tracetw.lab.net import cgroup
from tracetw.lab.net.actor_process import Actor
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import see_reset

__all__ = ["SCENARIOS"]

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
    # While a process is torn down on a slow machine, its FIN is sent again as a tail loss probe.
    "retransmits": ANYTHING,
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
ON_THE_WIRE: dict[str, Count] = {"A>B FIN": at_least(1), "B>A FIN": 1, "RST": 0}
IN_ORDER = ("A>B FIN", "B>A PURE", "B>A FIN", "A>B PURE")
COUNTED = {"a": {"TW": born(1), "OutRsts": 0}}
UNREAD_COUNTED = {"a": {"OutRsts": 1, "TCPAbortOnClose": 1}}
UNREAD_ON_THE_WIRE = {"A>B RST ACK": 1, "FIN": 0}
UNREAD = sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE", states=connected("CLOSE"))


def killed(name: str, *, core: bool = False) -> dict[str, Any]:
    """Fields of a death by a signal."""
    return {"closed_by": "process-crash", "exit": {"signal": name, "core": core}}


def connect(net: Net, comm: str, *, unread: bytes = b"") -> tuple[Actor, socket.socket]:
    """A process on A connected to this process on B, with ``unread`` waiting for it."""
    listener = net.listen()
    process = net.actor(net.a, comm)
    process.connect(net.b.addresses[net.family], net.family)
    end = net.keep(listener.accept()[0])
    if unread:
        end.sendall(unread)
        eventually(lambda: net.a.unread() == len(unread))
    return process, end


def outlive(net: Net, process: Actor, end: socket.socket) -> None:
    """B closes after the process on A has gone and its FIN was acknowledged."""
    process.wait()
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.step("the process has gone, its FIN is acknowledged; B closes")
    end.close()
    eventually(lambda: net.a.states() == ["TIME_WAIT"])
    net.learn("a", process.owner())


def exits(net: Net, code: int) -> None:
    process, end = connect(net, "exits")
    process.order("exit", code)
    outlive(net, process, end)


def dies(net: Net, number: int, core_bytes: int) -> None:
    process, end = connect(net, "dies")
    process.order("die", number, core_bytes)
    require(process.dumped_core() == bool(core_bytes), "a core was dumped, or not")
    outlive(net, process, end)


def killed_at_once(net: Net) -> None:
    process, end = connect(net, "killed")
    process.kill()
    outlive(net, process, end)


def killed_with_unread_data(net: Net) -> None:
    process, end = connect(net, "killed-unread", unread=b"hello")
    process.kill()
    see_reset(end)
    net.learn("a", process.owner())


def exits_with_unread_data(net: Net) -> None:
    process, end = connect(net, "exit-unread", unread=b"hello")
    process.order("exit", 0)
    see_reset(end)
    net.learn("a", process.owner())


def runs_out_of_memory(net: Net) -> None:
    controller = cgroup.version_1() or cgroup.version_2()
    if controller is None:
        return
    process, end = connect(net, "hungry")
    with cgroup.limited(controller, OOM_LIMIT_BYTES) as group:
        group.add(process.pid)
        process.order("eat")
        require(process.wait() == -signal.SIGKILL, "the process was not killed")
        require(group.oom_kills() == 1, "nothing was killed for want of memory")
    outlive(net, process, end)


def no_memory_controller() -> str | None:
    """Why there is no OOM kill to be had."""
    if cgroup.version_1() or cgroup.version_2():
        return None
    return f"no memory controller: {cgroup.mounted()}"


def executes(net: Net) -> None:
    process, end = connect(net, "before-exec")
    process.become("after-exec")
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.step("the process runs another program; the socket was close-on-exec")
    end.close()
    eventually(lambda: net.a.states() == ["TIME_WAIT"])
    # The files are closed after the process was renamed (begin_new_exec).
    net.learn("a", {"pid": process.pid, "comm": Path(sys.executable).name[:15]})


def leaves_child_behind(net: Net) -> None:
    process, end = connect(net, "parent")
    parent = process.pid
    process.leave("child")
    net.step("the parent has exited, a child holds the socket")
    process.do("send", "still here")
    require(end.recv(100) == b"still here", "the connection did not survive the parent")
    require(net.a.states() == ["ESTABLISHED"], "the connection did not survive the parent")
    require(process.pid != parent, "there is no child")
    require(net.reported("a") == 0, "a connection that lives was reported")
    process.do("close")
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.step("the child has closed")
    end.close()
    eventually(lambda: net.a.states() == ["TIME_WAIT"])
    net.learn("a", process.owner())


def dying(
    name: str,
    claim: str,
    play: Play,
    a: Expectation,
    *,
    needs: Callable[[], str | None] | None = None,
) -> Scenario:
    """A process that dies and leaves FIN."""
    return Scenario(
        name=name,
        claim=claim,
        play=play,
        a=client(**DIES, **a),
        b=SURVIVES,
        wire=ON_THE_WIRE,
        order=IN_ORDER,
        counters=COUNTED,
        needs=needs,
    )


SCENARIOS = (
    dying(
        "exit-0",
        "A process that exits without close() leaves an orderly close by the kernel.",
        partial(exits, code=0),
        {"closed_by": "process-exit", "exit": {"code": 0}},
    ),
    dying(
        "exit-3",
        "A process that exits with code 3 and without close() leaves an orderly close, and the line has the code.",
        partial(exits, code=3),
        {"closed_by": "process-exit", "exit": {"code": 3}},
    ),
    dying(
        "sigkill",
        "The kernel closes for a killed process by FIN: the peer cannot tell it from close().",
        killed_at_once,
        killed("SIGKILL"),
    ),
    dying(
        "sigterm",
        "The kernel closes by FIN for a process that does not handle SIGTERM.",
        partial(dies, number=signal.SIGTERM, core_bytes=0),
        killed("SIGTERM"),
    ),
    dying(
        "sigsegv",
        "The kernel closes by FIN for a process that crashed without a core file.",
        partial(dies, number=signal.SIGSEGV, core_bytes=0),
        killed("SIGSEGV"),
    ),
    dying(
        "sigsegv-with-core",
        "The kernel closes for a process that crashed when its core file is written: the FIN waits until then.",
        partial(dies, number=signal.SIGSEGV, core_bytes=CORE_BYTES),
        killed("SIGSEGV", core=True),
    ),
    dying(
        "oom-kill",
        "The kernel killed the process for want of memory in its group.",
        runs_out_of_memory,
        {"closed_by": "oom-kill", "exit": {"signal": "SIGKILL", "core": False}},
        needs=no_memory_controller,
    ),
    Scenario(
        name="sigkill-with-unread-data",
        claim="The kernel closes for a killed process with unread data by RST, and the peer may"
        " lose what it was sent.",
        play=killed_with_unread_data,
        a=client(**{**UNREAD, **killed("SIGKILL")}, owner_from="close", bytes_unread=5),
        b=server(**got_reset(ack=True, states=accepted("CLOSE")), bytes_sent=5),
        wire=UNREAD_ON_THE_WIRE,
        order=("B>A DATA", "A>B RST"),
        counters=UNREAD_COUNTED,
    ),
    Scenario(
        name="exit-with-unread-data",
        claim="The kernel closes by RST for a process that exits with code 0 and unread data.",
        play=exits_with_unread_data,
        a=client(**{**UNREAD, "closed_by": "process-exit", "exit": {"code": 0}}, bytes_unread=5),
        b=server(**got_reset(ack=True, states=accepted("CLOSE")), bytes_sent=5),
        wire=UNREAD_ON_THE_WIRE,
        order=("B>A DATA", "A>B RST"),
        counters=UNREAD_COUNTED,
    ),
    dying(
        "exec-close-on-exec",
        "exec() closes what is close-on-exec: the process lives, the connection does not.",
        executes,
        {"closed_by": "app", "exit": None},
    ),
    dying(
        "parent-exits-child-holds",
        "A process exits but a child still holds the socket: nothing ends, and tracetw reports nothing.",
        leaves_child_behind,
        {"closed_by": "app", "exit": None},
    ),
)
