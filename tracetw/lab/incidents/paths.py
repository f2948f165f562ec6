# SPDX-License-Identifier: Apache-2.0
"""Incidents on the way: a firewall rule, a host without power, a NAT that forgets."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tracetw.lab.incidents.deaths import break_off
from tracetw.lab.incidents.incident import PlayedIncident
from tracetw.lab.incidents.stage import PORT, Stage, now_ns
from tracetw.lab.net.fault import FORWARD, INPUT, PREROUTING, PacketLoss

__all__ = ["INCIDENTS"]

EVERY_S = 0.04
DB_PORT = 9102
POOL = 20
FORGETS_S = 2
GOOD_S = 8.0


def ruled(stage: Stage, seconds: float, after_s: float, hook: str, verdict: str = "drop") -> None:
    """The server's host has a rule for what comes to the port, and removes it after so long."""
    stage.server("api")
    web = stage.calling(EVERY_S)
    stage.wait(1.0)
    at_ns = now_ns()
    with PacketLoss(stage.net.b, f"tcp dport {PORT}", hook=hook, verdict=verdict):
        stage.wait(seconds)
    until_ns = now_ns()
    stage.wait(after_s)
    stage.happened("path", at_ns, until_ns, stage.reach(web))


def firewall(stage: Stage) -> None:
    """A rule drops what comes to the port for six seconds."""
    ruled(stage, 6.0, 2.0, PREROUTING)


def firewall_reset(stage: Stage) -> None:
    """A rule answers every connect to the port with a RST for four seconds."""
    ruled(stage, 4.0, 1.0, INPUT, "reject with tcp reset")


def firewall_icmp(stage: Stage) -> None:
    """A rule answers every connect to the port with an ICMP error for four seconds."""
    ruled(stage, 4.0, 1.0, INPUT, "reject with icmpx type port-unreachable")


def power_off(stage: Stage) -> None:
    """The cable of the server's host is dead from now on, behind a router that says nothing."""
    stage.server("api")
    web, pool = stage.client("web"), stage.client("pool")
    pool.do("hold", stage.address, PORT, POOL)
    web.do("call", stage.address, PORT, EVERY_S)
    stage.wait(1.0)
    # A call whose request has arrived would wait for its answer for ever.
    web.do("hang_up")
    at_ns = now_ns()
    stage.net.b.run("ip", "link", "set", "eth0", "down")
    web.do("call", stage.address, PORT, EVERY_S)
    pool.do("ask")
    pool.do("listen_on")
    stage.wait(4.0)
    stage.happened("peer-down", at_ns, None, stage.reach(web, pool))


def nat_forgets(stage: Stage) -> None:
    """The router forgets idle connections, and answers what it does not know with a RST."""
    with stage.net.r.entered():
        folder = Path("/proc/sys/net/netfilter")
        (folder / "nf_conntrack_tcp_timeout_established").write_text(f"{FORGETS_S}\n")
        (folder / "nf_conntrack_tcp_loose").write_text("0\n")
    stage.server("api")
    web = stage.calling(EVERY_S)
    pools = [stage.client("pool") for _ in range(3)]
    at_ns = 0
    with PacketLoss(stage.net.r, "ct state invalid", hook=FORWARD, verdict="reject with tcp reset"):
        for pool in pools:
            pool.do("hold", stage.address, PORT, POOL)
            stage.wait(FORGETS_S + 1.0)
            at_ns = at_ns or now_ns()
            pool.do("ask")
            pool.do("listen_on")
        stage.wait(0.5)
    until_ns = now_ns()
    stage.happened("forgotten", at_ns, until_ns, stage.reach(web, *pools))


def two_at_once(stage: Stage) -> None:
    """One server is killed while a firewall cuts another one off."""
    api, pool, web = stage.server("api"), stage.client("pool"), stage.client("web")
    stage.server("db", DB_PORT)
    report = stage.calling(EVERY_S, "cron", DB_PORT)
    break_off(stage, api, pool, web)
    killed_ns = now_ns()
    api.kill()
    stage.wait(1.0)
    cut_ns = now_ns()
    with PacketLoss(stage.net.b, f"tcp dport {DB_PORT}", hook=PREROUTING):
        stage.wait(3.0)
        stage.server("api")
        again_ns = now_ns()
        stage.wait(2.0)
    until_ns = now_ns()
    stage.wait(2.0)
    stage.happened("kill", killed_ns, again_ns, stage.reach(pool, web), by=api)
    stage.happened("path", cut_ns, until_ns, stage.reach(report), port=DB_PORT)


def three_in_a_row(stage: Stage) -> None:
    """Killed; eight good seconds; cut off by a rule; eight good seconds; restarted."""
    api, pool, web = stage.server("api"), stage.client("pool"), stage.client("web")
    db, cron = stage.server("db", DB_PORT), stage.calling(EVERY_S, "cron", DB_PORT)
    break_off(stage, api, pool, web)
    killed_ns = now_ns()
    api.kill()
    stage.wait(1.5)
    stage.server("api")
    again_ns = now_ns()
    stage.wait(GOOD_S)
    cut_ns = now_ns()
    with PacketLoss(stage.net.b, f"tcp dport {DB_PORT}", hook=PREROUTING):
        stage.wait(4.0)
    whole_ns = now_ns()
    stage.wait(GOOD_S)
    cut = stage.reach(cron)
    late, night = stage.client("pool"), stage.client("night")
    break_off(stage, db, late, night, DB_PORT)
    ended_ns = now_ns()
    os.kill(db.pid, signal.SIGTERM)
    db.wait()
    back_ns = stage.served_again(1.5, "db", DB_PORT)
    stage.happened("kill", killed_ns, again_ns, stage.reach(pool, web), by=api)
    stage.happened("path", cut_ns, whole_ns, cut, port=DB_PORT)
    stage.happened("restart", ended_ns, back_ns, stage.reach(late, night), by=db, port=DB_PORT)


QUICK = {"tcp_syn_retries": 1, "tcp_retries2": 3}

INCIDENTS = (
    PlayedIncident(
        name="firewall-rule",
        claim="A rule on the server's host drops what comes to a port, and is removed again.",
        act=firewall,
        ahead_ms={"web-1": 2500},
        sysctls={"a": QUICK},
    ),
    PlayedIncident(
        name="firewall-reset",
        claim="A rule on the server's host answers connects to a port with RST.",
        act=firewall_reset,
        ahead_ms={"api-1": 500},
    ),
    PlayedIncident(
        name="firewall-icmp",
        claim="A rule on the server's host answers connects to a port with an ICMP error.",
        act=firewall_icmp,
        sysctls={"b": {"icmp_ratelimit": 0}},
    ),
    PlayedIncident(
        name="peer-power-off",
        claim="A server's host loses power and does not come back.",
        act=power_off,
        hosts={"web-1": "a"},
        nat=True,
        shop="r",
        sysctls={"a": QUICK},
    ),
    PlayedIncident(
        name="nat-forgets",
        claim="A router that translates addresses forgets connections that were idle for two seconds.",
        act=nat_forgets,
        hosts={"web-1": "a"},
        nat=True,
    ),
    PlayedIncident(
        name="two-at-once",
        claim="A server is killed while a firewall cuts another one off.",
        act=two_at_once,
        ahead_ms={"api-1": -900},
        sysctls={"a": QUICK},
    ),
    PlayedIncident(
        name="three-in-a-row",
        claim="Killed, cut off, restarted, with good seconds between: three incidents.",
        act=three_in_a_row,
        ahead_ms={"api-1": 200},
        sysctls={"a": QUICK},
    ),
)
