# SPDX-License-Identifier: Apache-2.0
"""The hosts of a scenario, and what plays are made of."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pyroute2 import IPRoute

from tracetw.closing import Closing
from tracetw.lab.net.actor_process import PROGRAM, Actor
from tracetw.lab.net.cable import DIRECT, NAT, Port, addresses, join, networks
from tracetw.lab.net.fault import EVERYTHING, FORWARD, HOST_UNREACHABLE, INPUT, OUTPUT, PacketLoss
from tracetw.lab.net.host import PORT, SYSCTLS, Host
from tracetw.lab.polling import NotPlayed

__all__ = ["Link", "Net", "Step"]

T = TypeVar("T")

_MASQUERADE = """table inet translate {
  chain c {
    type nat hook postrouting priority 100
    oifname "eth1" masquerade
  }
}
"""


@dataclass(frozen=True, slots=True)
class Link:
    """The sockets of one connection, its end in A and its end in B, and B's listener."""

    a: socket.socket
    b: socket.socket
    listener: socket.socket


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done, with the states of the sockets on A and B just after."""

    at_ns: int
    text: str


class Net(Closing):
    """The hosts and all that lives on them; leaving the context undoes everything.

    With ``keep`` the namespaces stay, with sockets and processes gone. ``reported`` tells the number
    of ``close`` lines of a host so far, where a tracer runs.
    """

    def __init__(self, family: int = 4, *, nat: bool = False, keep: bool = False) -> None:
        self.family = family
        self.keep_hosts = keep
        self.hosts: dict[str, Host] = {}
        self.steps: list[Step] = []
        self.gone: dict[str, int] = {}
        self.reported: Callable[[str], int] = lambda _: 0
        self.learnt: dict[str, dict[int, dict[str, object]]] = {}
        self.born_ns = time.time_ns()
        self._lock = threading.Lock()
        self._awake = False
        self._wakers: list[Callable[[], object]] = []
        self._namespaces = ExitStack()
        self._things = ExitStack()
        cables = NAT if nat else DIRECT
        tag = f"lab-{os.getpid()}-{secrets.token_hex(3)}"
        try:
            for cable in cables:
                for port in (cable.one, cable.other):
                    self._host(tag, port)
            for cable in cables:
                join(cable, self.hosts[cable.one.letter], self.hosts[cable.other.letter])
            if nat:
                self._translate()
        except BaseException:
            self._namespaces.close()
            raise

    @property
    def a(self) -> Host:
        """The host that connects."""
        return self.hosts["a"]

    @property
    def b(self) -> Host:
        """The host that listens."""
        return self.hosts["b"]

    @property
    def r(self) -> Host:
        """The router."""
        return self.hosts["r"]

    @property
    def seen_by_b(self) -> dict[int, str]:
        """A's addresses as B sees them."""
        return addresses(99, 1)

    @property
    def second(self) -> dict[int, str]:
        """Other addresses that A may take on its cable."""
        return addresses(99, 77)

    def _host(self, tag: str, port: Port) -> None:
        if port.letter not in self.hosts:
            first = dict(reversed(port.addresses))
            host = Host(f"{tag}-{port.letter}", port.letter, first)
            self._namespaces.callback(host.remove)
            self.hosts[port.letter] = host
            host.sysctl(**SYSCTLS)

    def _translate(self) -> None:
        with self.r.entered():
            for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                Path("/proc/sys/net", name).write_text("1\n")
        self.r.run("nft", "-f", "-", text=_MASQUERADE)
        with self.a.entered(), IPRoute() as netlink:
            router = addresses(98, 254)
            for family, network in networks(99).items():
                netlink.route("add", dst=network, gateway=router[family])

    # --- what plays are made of

    def step(self, text: str) -> None:
        """A line of the story."""
        self.steps.append(Step(time.time_ns(), text))

    def learn(self, letter: str, facts: Mapping[str, object], *, number: int = 0) -> None:
        """Facts of an expected line of a host (the first, or another) not known before the play."""
        self.learnt.setdefault(letter, {}).setdefault(number, {}).update(facts)

    def listen(self, *, port: int = PORT, backlog: int = 16) -> socket.socket:
        """A listener on B."""
        return self.keep(self.b.listen(self.family, port, backlog))

    def client(self, **options: int) -> socket.socket:
        """A socket on A, not connected. ``options`` are TCP socket options by name."""
        made = self.keep(self.a.tcp_socket(self.family))
        for name, value in options.items():
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return made

    @property
    def server(self) -> tuple[str, int]:
        """Where B listens."""
        return self.b.addresses[self.family], PORT

    def connect(self, **client_options: int) -> Link:
        """A connection from A to B, accepted; ``client_options`` as for :meth:`client`."""
        link = self.dial(self.listen(), self.client(**client_options))
        self.step("A connects, B accepts")
        return link

    def dial(self, listener: socket.socket, client: socket.socket | None = None) -> Link:
        """One connection more to a listener on B, accepted; of this socket on A, or of a new one."""
        client = client or self.client()
        client.connect(self.server)
        accepted = self.keep(listener.accept()[0])
        accepted.settimeout(client.gettimeout())
        return Link(client, accepted, listener)

    def actor(self, host: Host, comm: str, program: Sequence[str] = PROGRAM) -> Actor:
        """A process of its own on ``host``, ended at the latest with the topology."""
        folder = self._enter(TemporaryDirectory())
        with host.entered():
            actor = Actor(comm, Path(folder), program)
            return self._enter(actor, actor.kill)

    def drop(self, host: Host, match: str = EVERYTHING, *, once: bool = False) -> PacketLoss:
        """``host`` loses what ``match`` selects of what arrives, until lifted; ``once``: the first of each connection."""
        first = " the first of each connection" if once else ""
        self.step(f"from now on {host.letter.upper()} does not receive{first}: {match}")
        return self._enter(PacketLoss(host, match, once=once))

    def block(self, host: Host, match: str = EVERYTHING) -> PacketLoss:
        """``host`` cannot send what ``match`` selects, until lifted."""
        self.step(f"from now on {host.letter.upper()} cannot send: {match}")
        return self._enter(PacketLoss(host, match, hook=OUTPUT))

    def refuse(self, host: Host, match: str = EVERYTHING) -> PacketLoss:
        """``host`` answers what ``match`` selects with an ICMP error, host unreachable."""
        self.step(f"from now on {host.letter.upper()} answers with host unreachable: {match}")
        return self._enter(PacketLoss(host, match, hook=INPUT, verdict=HOST_UNREACHABLE))

    def reject_on_the_way(self, match: str) -> PacketLoss:
        """The router answers what ``match`` selects with a RST in the receiver's name, until lifted."""
        self.step(f"from now on R rejects with a RST: {match}")
        return self._enter(PacketLoss(self.r, match, hook=FORWARD, verdict="reject with tcp reset"))

    def duplicate(self, sender: Host, receiver: Host, match: str = EVERYTHING) -> PacketLoss:
        """What ``match`` selects of what one sends to the other arrives twice, until lifted."""
        self.step(f"from now on what {sender.letter.upper()} sends arrives twice: {match}")
        family = {4: "ip", 6: "ip6"}[self.family]
        twice = f'dup to {receiver.addresses[self.family]} device "{sender.device}"'
        return self._enter(PacketLoss(sender, match, family=family, hook=OUTPUT, verdict=twice))

    def destroy(self, letter: str, port: int) -> None:
        """A host and its end of the cable vanish, as far as no socket holds it.

        Its number may be another's soon: from then on its lines are known by a local ``port``, too.
        """
        self.gone[letter] = port
        self.hosts[letter].remove()
        self.step(f"the namespace of {letter.upper()} is removed")

    def acknowledge_at_once(self, host: Host) -> None:
        """``host`` delays no ACK on its cable: RTAX_QUICKACK of the route, not of the socket."""
        quick = ("dev", "eth0", "proto", "kernel", "quickack", "1")
        host.run("ip", "-6", "route", "change", networks(99)[6], *quick, "metric", "256")
        source = ("scope", "link", "src", host.addresses[4])
        host.run("ip", "route", "change", networks(99)[4], *quick, *source)

    def keep(self, made: socket.socket) -> socket.socket:
        """``made`` is closed at the latest with the topology."""
        return self._enter(closing(made), partial(_shut, made))

    def _enter(self, manager: AbstractContextManager[T], *wakers: Callable[[], object]) -> T:
        with self._lock:
            if self._awake:
                with manager:  # what began when it was made
                    raise NotPlayed("stopped")
            self._wakers += wakers
            return self._things.enter_context(manager)

    # --- the end

    def wake(self) -> None:
        """Whoever plays with a socket or a process of this net gives up; from any thread.

        Sockets are not closed: their descriptors' numbers would be another's while they are read.
        """
        with self._lock:
            self._awake = True
            for wake in self._wakers:
                wake()

    def close(self) -> None:
        """Undo everything, when nobody plays any more. May be called twice."""
        with ExitStack() as end:  # from the last to the first, whatever fails of them
            if self.keep_hosts:
                for host in self.hosts.values():
                    end.callback(host.forget)
                self._namespaces.pop_all()
            end.callback(self._namespaces.close)
            end.callback(self._things.close)


def _shut(made: socket.socket) -> None:
    with suppress(OSError):
        made.shutdown(socket.SHUT_RDWR)
