# SPDX-License-Identifier: Apache-2.0
"""Incidents in which a process ends: killed, out of memory, replaced, in a loop."""

from __future__ import annotations

import os
import signal

from tracetw.lab.incidents.incident import PlayedIncident
from tracetw.lab.incidents.stage import PORT, Stage, now_ns
from tracetw.lab.net import cgroup
from tracetw.lab.net.actor_process import Actor
from tracetw.lab.polling import NotPlayed, eventually, require

__all__ = ["INCIDENTS", "break_off"]

EVERY_S = 0.03
HELD = 12
REQUEST_BYTES = 4
MEMORY = 96 << 20


def break_off(stage: Stage, server: Actor, pool: Actor, caller: Actor, port: int = PORT) -> None:
    """Until requests wait unread at the server: what it holds when it dies is reset."""
    pool.do("hold", stage.address, port, HELD)
    caller.do("call", stage.address, port, EVERY_S)
    stage.wait(1.0)
    server.do("read_no_more")
    pool.do("ask")
    pool.do("listen_on")
    eventually(lambda: stage.net.b.unread(port) >= HELD * REQUEST_BYTES, what="unread requests")


def killed(stage: Stage) -> None:
    """SIGKILL, four seconds with nobody there, a new server."""
    api, pool, web = stage.server("api"), stage.client("pool"), stage.client("web")
    break_off(stage, api, pool, web)
    at_ns = now_ns()
    api.kill()
    until_ns = stage.served_again(4.0)
    stage.happened("kill", at_ns, until_ns, stage.reach(pool, web), by=api)


def idle_killed(stage: Stage) -> None:
    """SIGKILL for a server that holds no connection; who connects then is refused until there is a new one."""
    api, web = stage.server("api"), stage.client("web")
    stage.wait(1.0)
    at_ns = now_ns()
    api.kill()
    web.do("call", stage.address, PORT, EVERY_S)
    until_ns = stage.served_again(3.0)
    stage.happened("kill", at_ns, until_ns, stage.reach(web), by=api)


def idle_closed(stage: Stage) -> None:
    """Near miss: a server that holds no connection closes its listener and ends well."""
    api, web = stage.server("api"), stage.client("web")
    api.do("drain_on_term")
    stage.wait(1.0)
    os.kill(api.pid, signal.SIGTERM)
    require(api.wait() == 0, "it did not end well")
    at_ns = now_ns()
    web.do("call", stage.address, PORT, EVERY_S)
    stage.wait(3.0)
    stage.happened("service-down", at_ns, None, stage.reach(web))


def no_limit() -> str | None:
    """Why this machine cannot limit the memory of a group; None if it can."""
    if cgroup.version_2() or cgroup.version_1():
        return None
    return f"no memory controller: {cgroup.mounted()}"


def out_of_memory(stage: Stage) -> None:
    """The kernel kills the server for its group's limit; it is started again after three seconds."""
    controller = cgroup.version_2() or cgroup.version_1()
    if controller is None:
        raise NotPlayed(str(no_limit()))
    api, pool, web = stage.server("api"), stage.client("pool"), stage.client("web")
    with cgroup.limited(controller, MEMORY) as group:
        group.add(api.pid)
        pool.do("hold", stage.address, PORT, HELD)
        pool.do("listen_on")
        web.do("call", stage.address, PORT, EVERY_S)
        stage.wait(1.0)
        api.order("eat")
        api.wait()
        died_ns = now_ns()
        require(group.oom_kills(), "the kernel did not kill it for lack of memory")
    until_ns = stage.served_again(3.0)
    ended = pool.do("tell")["closed"]["first_ns"]
    stage.happened("oom", min(died_ns, ended), until_ns, stage.reach(pool, web), by=api)


def terminated(server: Actor) -> int:
    """SIGTERM ends it where it stands: when it was sent."""
    at_ns = now_ns()
    os.kill(server.pid, signal.SIGTERM)
    require(server.wait() == -signal.SIGTERM, "it did not end of SIGTERM")
    return at_ns


def deploy_hard(stage: Stage) -> None:
    """SIGTERM ends the server where it stands; the new one listens two seconds later."""
    api, pool, web = stage.server("api"), stage.client("pool"), stage.client("web")
    break_off(stage, api, pool, web)
    at_ns = terminated(api)
    until_ns = stage.served_again(2.0)
    stage.happened("restart", at_ns, until_ns, stage.reach(pool, web), by=api)


def stopped(stage: Stage) -> None:
    """SIGTERM ends the server, and nobody starts another one."""
    api, pool, web = stage.server("api"), stage.client("pool"), stage.client("web")
    break_off(stage, api, pool, web)
    at_ns = terminated(api)
    stage.wait(3.0)
    stage.happened("stop", at_ns, None, stage.reach(pool, web), by=api)


def deploy_graceful(stage: Stage) -> None:
    """SIGTERM: the listener goes, open connections are finished; the new one listens after that."""
    api, pool, web = stage.server("api"), stage.client("pool"), stage.client("web")
    api.do("drain_on_term")
    pool.do("hold", stage.address, PORT, HELD)
    web.do("call", stage.address, PORT, EVERY_S)
    stage.wait(1.0)
    at_ns = now_ns()
    os.kill(api.pid, signal.SIGTERM)
    stage.wait(1.5)
    pool.do("let_go")
    require(api.wait() == 0, "it did not end well")
    until_ns = stage.served_again(1.0)
    stage.happened("deploy", at_ns, until_ns, stage.reach(pool, web), by=api)


def deploy_seamless(stage: Stage) -> None:
    """The new server listens beside the old one before that drains: nothing happens."""
    api, pool, web = stage.server("api", shared=True), stage.client("pool"), stage.client("web")
    api.do("drain_on_term")
    pool.do("hold", stage.address, PORT, HELD)
    web.do("call", stage.address, PORT, EVERY_S)
    stage.wait(1.0)
    stage.server("api", shared=True)
    os.kill(api.pid, signal.SIGTERM)
    stage.wait(1.0)
    pool.do("let_go")
    require(api.wait() == 0, "it did not end well")
    stage.wait(1.0)
    bad = stage.reach(pool, web)
    require(not bad, f"somebody noticed: {bad}")


ROUNDS = 6


def crash_loop(stage: Stage) -> None:
    """The server dies of SIGSEGV soon after each start, six times."""
    web = stage.client("web")
    pools = [stage.client("pool") for _ in range(ROUNDS)]
    at_ns, crashed = 0, []
    for number, pool in enumerate(pools):
        api = stage.server("api")
        crashed.append(api)
        if not number:
            web.do("call", stage.address, PORT, EVERY_S)
        pool.do("hold", stage.address, PORT, 4)
        pool.do("listen_on")
        stage.wait(0.6)
        at_ns = at_ns or now_ns()
        api.order("crash", int(signal.SIGSEGV))
        require(api.wait() == -signal.SIGSEGV, "it did not crash")
        stage.wait(0.4)
    until_ns = stage.served_again(0.0)
    stage.happened("crash-loop", at_ns, until_ns, stage.reach(web, *pools), by=crashed[0])


ONE = {"box-1": "b"}

INCIDENTS = (
    PlayedIncident(
        name="killed",
        claim="A server is killed by SIGKILL; connections are reset, then connects refused.",
        act=killed,
        ahead_ms={"api-1": 1700},
    ),
    PlayedIncident(
        name="idle-killed",
        claim="A server that holds no connection is killed by SIGKILL; connects are refused.",
        act=idle_killed,
        ahead_ms={"web-1": 900},
    ),
    PlayedIncident(
        name="idle-closed",
        claim="A server that holds no connection closes its listener and exits: nobody killed it.",
        act=idle_closed,
    ),
    PlayedIncident(
        name="out-of-memory",
        claim="The kernel kills a server for lack of memory in its group.",
        act=out_of_memory,
        needs=no_limit,
        hosts=ONE,
        caller="b",
    ),
    PlayedIncident(
        name="deploy-graceful",
        claim="A server finishes its connections before the new one listens: connects are refused.",
        act=deploy_graceful,
        ahead_ms={"web-1": 350},
    ),
    PlayedIncident(
        name="deploy-hard",
        claim="SIGTERM ends a server with connections open; the new one listens two seconds later.",
        act=deploy_hard,
        hosts=ONE,
        caller="b",
    ),
    PlayedIncident(
        name="deploy-seamless",
        claim="The new server listens before the old one drains: no incident.",
        act=deploy_seamless,
        sysctls={"b": {"tcp_migrate_req": 1}},
    ),
    PlayedIncident(
        name="stopped",
        claim="SIGTERM ends a server, and no other one takes its place.",
        act=stopped,
    ),
    PlayedIncident(
        name="crash-loop",
        claim="A server crashes soon after each start, six times: one incident.",
        act=crash_loop,
        hosts=ONE,
        caller="b",
    ),
)
