# SPDX-License-Identifier: Apache-2.0
"""The machines of a topology as the hosts of a play, and what only machines can suffer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress

from tracetw.lab.net.actor_process import PROGRAM, Actor
from tracetw.lab.net.host import Host
from tracetw.lab.net.topology import Net, Step
from tracetw.lab.polling import STOP, NotPlayed, eventually, patient, require
from tracetw.lab.vagrant.remote import Elsewhere, Machine, RemoteActor
from tracetw.lab.vagrant.site import Site
from tracetw.lab.vagrant.ssh import MachineLost, Way

_BOOT_S = 75.0
_LOOK_S = 2.0


class Machines(Net):
    """Hosts by letter. Its plays may also cut the power of one, and more.

    Args:
        site: where the machines are.
        machines: by letter; they are up.
    """

    def __init__(self, site: Site, machines: Mapping[str, Machine]) -> None:
        self.family = 4
        self.keep_hosts = True
        self.site = site
        self.machines = dict(machines)
        self.hosts: dict[str, Host] = dict(machines)
        self.steps: list[Step] = []
        self.gone: dict[str, int] = {}
        self.reported: Callable[[str], int] = lambda _: 0
        self.learnt: dict[str, dict[int, dict[str, object]]] = {}
        self.born_ns = time.time_ns()
        self.dead: set[str] = set()
        self._asleep: set[str] = set()
        self._unplugged: dict[str, str] = {}
        self._lock = threading.Lock()
        self._awake = False
        self._wakers: list[Callable[[], object]] = []
        self._namespaces = ExitStack()
        self._things = ExitStack()

    @property
    def seen_by_b(self) -> dict[int, str]:
        """A's address as B sees it."""
        return {4: self.site.seen_by_b}

    @property
    def second(self) -> dict[int, str]:
        """A machine keeps to the address of its cable."""
        raise Elsewhere("it gives a host a second address")

    def actor(self, host: Host, comm: str, program: Sequence[str] = PROGRAM) -> Actor:
        """A process of its own on a machine."""
        if program != PROGRAM:
            raise Elsewhere("it runs a program of this machine on the host")
        return self._enter(RemoteActor(comm, self.machines[host.letter].way))

    def destroy(self, letter: str, port: int) -> None:  # noqa: ARG002 (as Net)
        """A machine is no namespace that could be removed under its sockets."""
        raise Elsewhere("it removes the network namespace of a host")

    def acknowledge_at_once(self, host: Host) -> None:
        """``host`` delays no ACK on its cable."""
        machine = self.machines[host.letter]
        for line in host.run("ip", "-4", "route", "show", "dev", machine.device).splitlines():
            host.run("ip", "route", "change", *line.split(), "dev", machine.device, "quickack", "1")

    # --- what only machines can suffer

    def cut_power(self, letter: str) -> None:
        """The machine is off at once; nothing on it learns of it."""
        self._power(letter, "off", "the power is cut")

    def power_on(self, letter: str) -> None:
        """It boots, and is back when this returns, with nothing of what it knew."""
        self.site.fault(self.machines[letter].name, "on")
        self.step(f"{letter.upper()} has power again and boots")
        self.await_boot(letter)

    def reset(self, letter: str) -> None:
        """The reset button: it boots at once, with nothing of what it knew."""
        self._power(letter, "reset", "is reset, and boots")

    def panic(self, letter: str) -> None:
        """Its kernel panics and stands still until :meth:`reset`."""
        self.machines[letter].way.ask("set", {"/proc/sys/kernel/panic": "0"})
        self.step(f"the kernel of {letter.upper()} panics")
        self.dead.add(letter)
        # The answer never comes, but the order has to get there: ssh gives up when nobody answers.
        with suppress(MachineLost):
            self.machines[letter].way.ask("store", "/proc/sysrq-trigger", "c")

    def suspend(self, letter: str) -> None:
        """It stands still: no processor runs, its clock is not told."""
        self._asleep.add(letter)
        self.site.fault(self.machines[letter].name, "suspend")
        self.step(f"{letter.upper()} is suspended")

    def wake_up(self, letter: str) -> None:
        """It goes on where it stood."""
        self.site.fault(self.machines[letter].name, "resume")
        self._asleep.discard(letter)
        self.step(f"{letter.upper()} wakes up")
        eventually(self.machines[letter].is_up, 60.0, f"{letter.upper()} answers again")

    def unplug(self, letter: str) -> None:
        """The cable of the lab is pulled out: the interface loses its carrier."""
        machine = self.machines[letter]
        self._unplugged[letter] = machine.link_address()
        self.site.fault(machine.name, "unplug", self._unplugged[letter])
        self.step(f"the cable of {letter.upper()} is unplugged")

    def plug_in(self, letter: str) -> None:
        """The cable is there again."""
        self.site.fault(self.machines[letter].name, "plug", self._unplugged[letter])
        del self._unplugged[letter]
        self.step(f"the cable of {letter.upper()} is plugged in")

    def await_boot(self, letter: str) -> None:
        """Wait until another boot of a machine answers; its agent is a new one."""
        machine = self.machines[letter]
        old = machine.about["boot"]
        machine.way.close()
        end = time.monotonic() + patient(_BOOT_S)
        while True:
            try:
                way = self.site.way(machine.name)
                try:
                    about = way.ask("hello", wait_s=20.0)
                except BaseException:
                    way.close()
                    raise
                if about["boot"] != old:
                    break
                way.close()
            except NotPlayed as error:
                require(time.monotonic() < end, f"{machine.name} does not boot: {error}")
            if STOP.wait(_LOOK_S):
                raise NotPlayed("stopped")
        self._back(letter, way)
        self.step(f"{letter.upper()} has booted")

    def undo_faults(self) -> None:
        """Cables are plugged in, sleepers woken, machines without power booted, wherever the play has ended."""
        for letter, mac in list(self._unplugged.items()):
            self.site.fault(self.machines[letter].name, "plug", mac)
            del self._unplugged[letter]
        for letter in list(self._asleep):
            self.site.fault(self.machines[letter].name, "resume")
            self._asleep.discard(letter)
        for letter in sorted(self.dead):
            try:
                self.power_on(letter)
            except NotPlayed:
                self.await_boot(letter)

    def _back(self, letter: str, way: Way) -> None:
        machine = self.machines[letter]
        machine.way, machine.before = way, {}
        machine.about = way.ask("hello")
        way.ask("clock", time.time_ns())
        self.dead.discard(letter)

    def _power(self, letter: str, what: str, words: str) -> None:
        self.dead.add(letter)
        self.site.fault(self.machines[letter].name, what)
        self.step(f"{letter.upper()}: {words}")
