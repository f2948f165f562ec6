# SPDX-License-Identifier: Apache-2.0
"""Where an incident is played: hosts, processes, good traffic around it, and recorders that watch."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracetw import isolated
from tracetw.lab.incidents.incident import Happened, PlayedIncident
from tracetw.lab.net.actor_process import Actor
from tracetw.lab.net.host import Host
from tracetw.lab.net.topology import Net
from tracetw.lab.play.child import READY, READY_DEADLINE_S, Child
from tracetw.lab.polling import LOOK_S, STOP, NotPlayed, patient

__all__ = ["PORT", "RecordCommand", "Stage"]

WORKER = tuple(isolated.command("tracetw.lab.incidents.worker", packages=False))
PORT, SHOP_PORT = 9101, 8080
BEFORE_S, AFTER_S = 2.5, 2.0
GOOD_EVERY_S = 0.05
BACKLOG = 128
FINE = ("ok", "idle")

Outcomes = Mapping[str, Mapping[str, int]]


class RecordCommand(Child):
    """``tracetw record`` on a host of its own, which sees one namespace. Runs in its context."""

    def __init__(self, folder: Path, name: str, host: Host, ahead_ms: int) -> None:
        words = ("record", "-o", str(folder), "--ready-fd", READY, "--netns", host.name)
        ahead = str(ahead_ms * 1_000_000)
        super().__init__(
            isolated.command("tracetw.lab.incidents.host", name, ahead, *words),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )

    def ready(self) -> None:
        """Wait until it records. Raises NotPlayed if it does not get there, or on Ctrl-C."""
        end = time.monotonic() + patient(READY_DEADLINE_S)
        while not (ready := self.is_ready(LOOK_S)):
            late = time.monotonic() > end
            if ready is None or late or STOP.is_set():
                self.kill()
                raise NotPlayed(f"the recorder did not start: {self.said().strip() or 'stopped'}")


class Stage:
    """What an act is made of.

    Attributes:
        net: the hosts.
        truth: what happened, filled by the act.
        ended: outcomes of the connections of every process that was asked.
    """

    def __init__(self, incident: PlayedIncident, net: Net) -> None:
        self.incident = incident
        self.net = net
        self.truth: list[Happened] = []
        self.connections = 0

    @property
    def caller(self) -> Host:
        """The host whose processes call."""
        return self.net.hosts[self.incident.caller]

    @property
    def address(self) -> str:
        """Where B serves, as its callers name it."""
        return self.net.b.addresses[4]

    def worker(self, host: Host, comm: str) -> Actor:
        """A process of the incident."""
        return self.net.actor(host, comm, WORKER)

    def server(self, comm: str, port: int = PORT, backlog: int = BACKLOG, **more: bool) -> Actor:
        """A process on B that listens and answers."""
        actor = self.worker(self.net.b, comm)
        actor.do("serve", "0.0.0.0", port, backlog, *more.values())  # noqa: S104 (of a namespace)
        return actor

    def client(self, comm: str) -> Actor:
        """A process on the calling host."""
        return self.worker(self.caller, comm)

    def calling(self, every_s: float, comm: str = "web", port: int = PORT) -> Actor:
        """A process on the calling host that calls the server now and every so many seconds."""
        web = self.client(comm)
        web.do("call", self.address, port, every_s)
        return web

    def served_again(self, after_s: float, comm: str = "api", port: int = PORT) -> int:
        """A new server listens after so long, and traffic flows for a second: when it began to listen."""
        self.wait(after_s)
        self.server(comm, port)
        until_ns = now_ns()
        self.wait(1.0)
        return until_ns

    def wait(self, seconds: float) -> None:
        """Let traffic flow."""
        if STOP.wait(seconds):
            raise NotPlayed("stopped")

    def reach(self, *workers: Actor) -> dict[str, int]:
        """What became of the connections of these processes, without those that ended well."""
        found: dict[str, int] = {}
        for worker in workers:
            for outcome, row in self.outcomes(worker).items():
                self.connections += row["count"]
                if outcome not in FINE:
                    found[outcome] = found.get(outcome, 0) + row["count"]
        return found

    def outcomes(self, worker: Actor) -> Outcomes:
        """Of all connections of a process, which makes no more of them and waits for their ends."""
        told: Any = worker.do("hang_up")
        return dict(told)

    def happened(
        self,
        cause: str,
        at_ns: int,
        until_ns: int | None,
        reach: Mapping[str, int],
        *,
        by: Actor | None = None,
        on: str = "b",
        port: int = PORT,
    ) -> None:
        """The truth of one incident, as ``Happened`` has it: brought about ``by`` a process, ``on`` a host's letter."""
        recorded = {letter: name for name, letter in self.incident.hosts.items()}
        self.truth.append(
            Happened(
                cause=cause,
                at_ns=at_ns,
                until_ns=until_ns,
                host=recorded.get(on),
                address=self.address,
                port=port,
                process=by.comm if by else "",
                pid=by.pid if by else None,
                reach=reach,
            )
        )

    # --- good traffic

    def open_shop(self) -> Actor:
        """Start the good traffic; its caller."""
        host = self.net.hosts[self.incident.shop]
        shop = self.worker(host, "shop")
        shop.do("serve", "0.0.0.0", SHOP_PORT, BACKLOG)  # noqa: S104 (of a namespace)
        shop.do("close_first")
        cart = self.client("cart")
        cart.do("call", host.addresses[4], SHOP_PORT, GOOD_EVERY_S, True)
        return cart

    def play(self) -> None:
        """Good traffic, the act, good traffic."""
        cart = self.open_shop()
        self.wait(BEFORE_S)
        self.incident.act(self)
        self.wait(AFTER_S)
        bad = self.reach(cart)
        if bad:
            raise NotPlayed(f"the good traffic had {bad}")


def now_ns() -> int:
    """Wall clock of this machine."""
    return time.time_ns()
