# SPDX-License-Identifier: Apache-2.0
"""Incidents of limits: local ports, the accept queue, idle times that do not match, a full window."""

from __future__ import annotations

from tracetw.lab.incidents.incident import PlayedIncident
from tracetw.lab.incidents.stage import PORT, Stage, now_ns
from tracetw.lab.net.host import ZERO_WINDOW_PROBE
from tracetw.lab.polling import eventually, require

__all__ = ["INCIDENTS"]

EVERY_S = 0.03
FEW_PORTS = 90
POOL = 30
SMALL_QUEUE = 8
IDLE_S = 1.0
FEED = 4 << 20
GIVEN_UP_MS = 2000


def port_exhaustion(stage: Stage) -> None:
    """Each connection leaves its local port in TIME_WAIT, until connect() finds none for this service."""
    stage.server("api")
    web = stage.calling(EVERY_S)
    stage.wait(FEW_PORTS * EVERY_S + 4.0)
    told = stage.outcomes(web)
    until_ns = now_ns()
    require("no_port" in told, f"there was a port for each: {told}")
    stage.happened(
        "ports-exhausted", told["no_port"]["first_ns"], until_ns, stage.reach(web), by=web, on="a"
    )


def accept_queue(stage: Stage) -> None:
    """The server does not accept for six seconds; its queue of eight is full at once."""
    api, web = stage.server("api", backlog=SMALL_QUEUE), stage.client("web")
    web.do("call", stage.address, PORT, EVERY_S)
    stage.wait(1.0)
    api.do("accept", False)
    at_ns = now_ns()
    stage.wait(6.0)
    api.do("accept", True)
    until_ns = now_ns()
    stage.wait(2.0)
    require(stage.net.b.counters()["ListenOverflows"], "the queue was not full")
    stage.happened("accept-queue", at_ns, until_ns, stage.reach(web), by=api)


def idle_mismatch(stage: Stage) -> None:
    """The server closes what is idle for a second; the client uses it again after longer."""
    api, web = stage.server("api"), stage.client("web")
    api.do("close_after", IDLE_S)
    web.do("call", stage.address, PORT, EVERY_S)
    pools = [stage.client("pool") for _ in range(4)]
    at_ns = 0
    for pool in pools:
        pool.do("hold", stage.address, PORT, POOL)
        stage.wait(IDLE_S + 0.3)
        at_ns = at_ns or now_ns()
        pool.do("ask")
        pool.do("listen_on")
    until_ns = now_ns()
    stage.wait(0.5)
    stage.happened("idle-timeout", at_ns, until_ns, stage.reach(web, *pools), by=api)


def slow_consumer(stage: Stage) -> None:
    """The client does not read; the server gives up when the window was closed for two seconds."""
    feed, web, sink = stage.server("feed"), stage.client("web"), stage.client("sink")
    web.do("call", stage.address, PORT, EVERY_S)
    sink.do("hold", stage.address, PORT, POOL)
    stage.wait(1.0)
    at_ns = now_ns()
    feed.do("push", FEED, GIVEN_UP_MS)
    eventually(
        lambda: stage.net.b.timers(PORT).count(ZERO_WINDOW_PROBE) >= POOL, what="closed windows"
    )
    eventually(lambda: feed.do("tell").get("timed_out", {}).get("count") == POOL)
    until_ns = now_ns()
    stage.wait(0.5)
    sink.do("let_go")
    stage.wait(0.5)
    given_up = feed.do("tell")["timed_out"]["count"]
    bad = stage.reach(web, sink)
    require(not bad, f"others had {bad}")
    stage.happened("slow-consumer", at_ns, until_ns, {"timed_out": given_up}, by=sink, on="a")


INCIDENTS = (
    PlayedIncident(
        name="port-exhaustion",
        claim="A client opens connections faster than TIME_WAIT gives its few local ports back.",
        act=port_exhaustion,
        hosts={"web-1": "a"},
        sysctls={"a": {"ip_local_port_range": f"40000 {40000 + FEW_PORTS - 1}"}},
    ),
    PlayedIncident(
        name="accept-queue-full",
        claim="A server accepts nothing for six seconds, and its accept queue is full.",
        act=accept_queue,
        ahead_ms={"api-1": 40},
        sysctls={"a": {"tcp_syn_retries": 1}},
    ),
    PlayedIncident(
        name="idle-timeout-mismatch",
        claim="A server closes idle connections after one second; the client reuses them later.",
        act=idle_mismatch,
        ahead_ms={"api-1": 12_000},
    ),
    PlayedIncident(
        name="slow-consumer",
        claim="A client reads nothing; the server gives up the connections whose window is closed.",
        act=slow_consumer,
    ),
)
