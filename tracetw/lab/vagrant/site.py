# SPDX-License-Identifier: Apache-2.0
"""The folder of the Vagrantfile: which machines there are, the way to each, and what can befall them.

Vagrant starts in seconds, ssh in a moment: so remember what ``vagrant ssh-config`` said, and ask Vagrant anew only
when ssh does not get there. Faults are those of the provider's own program, since ``vagrant halt --force`` of
vagrant-libvirt shuts down by ACPI: the peer would get a FIN.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tracetw.errors import BadInput, CannotTrace
from tracetw.lab.play.child import ROOT
from tracetw.lab.polling import LOOK_S, STOP, NotPlayed, require
from tracetw.lab.vagrant.ssh import CHECKOUT, MachineLost, Way, over_ssh
from tracetw.messages import show

# {id}: of the machine, as the provider has it; {mac}: of the interface. One command after the other.
# The reset button of libvirt is its power switch: what QEMU 7.2 without KVM has translated stays when a machine is reset,
# and a boot loader that writes over it may be slowed down to some bytes a second.
_FAULTS: Mapping[str, Mapping[str, Sequence[Sequence[str]]]] = {
    "libvirt": {
        "off": (("virsh", "-q", "destroy", "{id}"),),
        "on": (("virsh", "-q", "start", "{id}"),),
        "reset": (("virsh", "-q", "destroy", "{id}"), ("virsh", "-q", "start", "{id}")),
        "suspend": (("virsh", "-q", "suspend", "{id}"),),
        "resume": (("virsh", "-q", "resume", "{id}"),),
        "unplug": (("virsh", "-q", "domif-setlink", "{id}", "{mac}", "down"),),
        "plug": (("virsh", "-q", "domif-setlink", "{id}", "{mac}", "up"),),
    },
    # The interface of the lab is the second one there.
    "virtualbox": {
        "off": (("VBoxManage", "controlvm", "{id}", "poweroff"),),
        "on": (("VBoxManage", "startvm", "{id}", "--type", "headless"),),
        "reset": (("VBoxManage", "controlvm", "{id}", "reset"),),
        "suspend": (("VBoxManage", "controlvm", "{id}", "pause"),),
        "resume": (("VBoxManage", "controlvm", "{id}", "resume"),),
        "unplug": (("VBoxManage", "controlvm", "{id}", "setlinkstate2", "off"),),
        "plug": (("VBoxManage", "controlvm", "{id}", "setlinkstate2", "on"),),
    },
}
_FOLDERS = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """A machine of a topology, as ``machines.json`` has it; addresses without their prefix."""

    name: str
    letter: str
    addresses: tuple[str, ...]


class Site:
    """One topology of the Vagrantfile.

    Args:
        topology: one of those in ``machines.json``.
    """

    def __init__(self, topology: str) -> None:
        self.topology = topology
        self.folder = Path(os.environ.get("VAGRANT_CWD") or ROOT / "vagrant").absolute()
        if not (self.folder / "Vagrantfile").is_file():
            raise BadInput(
                f"there is no {self.folder}/Vagrantfile", "--on vagrant needs a checkout of tracetw"
            )
        self.data = self.folder / (os.environ.get("VAGRANT_DOTFILE_PATH") or ".vagrant")
        plans = json.loads((self.folder / "machines.json").read_text(encoding="utf-8"))
        if topology not in plans["topologies"]:
            raise BadInput(
                f"there is no topology {topology}", f"there are {', '.join(plans['topologies'])}"
            )
        machines = plans["topologies"][topology]
        self.plans = tuple(_plan(name, about) for name, about in machines.items())
        self.seen_by_b = self._seen_by_b()

    def _seen_by_b(self) -> str:
        routers = [plan for plan in self.plans if plan.letter == "r"]
        clients = [plan for plan in self.plans if plan.letter == "a"]
        return (routers or clients)[0].addresses[-1]

    @cached_property
    def environment(self) -> dict[str, str]:
        """Of Vagrant."""
        emulate = os.environ.get("TRACETW_EMULATE") or str(int(not os.access("/dev/kvm", os.W_OK)))
        found = {**os.environ, "TRACETW_TOPOLOGY": self.topology, "TRACETW_EMULATE": emulate}
        found["VAGRANT_CWD"] = str(self.folder)
        return found

    @property
    def emulated(self) -> bool:
        """Are the machines those of a libvirt of this user?"""
        return self.environment["TRACETW_EMULATE"] == "1"

    def check_means(self) -> None:
        """Raises CannotTrace when something is missing that machines need."""
        for program in ("vagrant", "ssh"):
            if shutil.which(program) is None:
                raise CannotTrace(
                    f"--on vagrant needs {program}, which is not installed",
                    "see docs/vagrant.md for what it takes",
                )
        if self.emulated and os.geteuid() == 0:
            raise CannotTrace(
                "without KVM the machines are of a libvirt of the user, and root has none of its own",
                "run it as an ordinary user",
            )

    # --- the way to a machine

    def way(self, name: str) -> Way:
        """Its agent, over ssh. Raises :class:`MachineLost`."""
        configuration = self.data / f"ssh-{self.topology}"
        if not configuration.is_file():
            raise MachineLost(f"{name} was not entered before")
        return Way(name, over_ssh(name, configuration))

    def ways(self) -> dict[str, Way]:
        """By letter, of all machines of the topology; those that do not answer are brought up."""
        for remedy in (self.up, self._provision):
            try:
                found = self._open()
            except NotPlayed:
                require(not STOP.is_set(), "stopped")
                remedy()
            else:
                break
        else:
            found = self._open()
        if self._stale(found):
            for way in found.values():
                way.close()
            self._provision()
            found = self._open()
        return found

    def _provision(self) -> None:
        show("tracetw lab: bringing the machines up to date with the checkout")
        self.vagrant("provision", *(plan.name for plan in self.plans))

    def _open(self) -> dict[str, Way]:
        found: dict[str, Way] = {}
        try:
            for plan in self.plans:
                found[plan.letter] = self.way(plan.name)
            for way in found.values():
                way.ask("hello", wait_s=20.0)
        except BaseException:
            for way in found.values():
                way.close()
            raise
        return found

    def _stale(self, ways: Mapping[str, Way]) -> bool:
        """Is there a newer file in the checkout than what the machines have?"""
        archive = self.data / "checkout.tar"
        if not archive.is_file():
            return True
        checkout = self.folder.parent
        packed = archive.stat().st_mtime
        files = [
            path
            for part in ("bpf", "tracetw", "scripts")
            for path in (checkout / part).rglob("*")
            if "__pycache__" not in path.parts and not _only_here(path)
        ]
        if any(path.stat().st_mtime > packed for path in [*files, checkout / "pyproject.toml"]):
            return True
        wanted = hashlib.sha256(archive.read_bytes()).hexdigest()
        return any(self._has(way) != wanted for way in ways.values())

    @staticmethod
    def _has(way: Way) -> str:
        """Digest of the checkout on a machine; none where provisioning did not get to its end."""
        try:
            return str(way.ask("read", f"{CHECKOUT}/.archive")[0]).strip()
        except FileNotFoundError:
            return ""

    # --- Vagrant

    def up(self) -> None:
        """Make and boot what is not there; when that is interrupted, what it made goes again."""
        names = [plan.name for plan in self.plans]
        fresh = [name for name in names if not self._made(name)]
        show(f"tracetw lab: vagrant up {' '.join(names)}")
        try:
            self.vagrant("up", *names)
            done = self._quick("vagrant", "ssh-config", *names)
            require(not STOP.is_set(), "stopped")
        except NotPlayed:
            if fresh:
                self._vagrant("destroy", "--force", *fresh).wait()
            raise
        if done.returncode:
            raise CannotTrace(f"vagrant ssh-config failed: {' '.join(done.stderr.split())}")
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / f"ssh-{self.topology}").write_text(done.stdout, encoding="utf-8")

    def vagrant(self, *words: str) -> None:
        """Run Vagrant to its end; its output goes to standard error. Raises CannotTrace when it fails."""
        process = self._vagrant(*words)
        told = False
        while process.poll() is None:
            if STOP.wait(LOOK_S) and not told:
                # As Ctrl-C: it takes back what it has begun. A second one would keep it from that.
                process.send_signal(signal.SIGINT)
                told = True
            if told:
                time.sleep(LOOK_S)
        require(not told, "stopped")
        if process.returncode:
            raise CannotTrace(
                f"vagrant {' '.join(words)} failed, exit {process.returncode}",
                "see its messages above",
            )

    def _vagrant(self, *words: str) -> subprocess.Popen[bytes]:
        """A session of its own: Ctrl-C of a terminal is the lab's to hear."""
        return subprocess.Popen(
            ["vagrant", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
        )

    def _quick(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A program that is soon done; Ctrl-C does not reach it."""
        return subprocess.run(
            words,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )

    def _made(self, name: str) -> bool:
        return any((self.data / "machines" / name / each / "id").is_file() for each in _FAULTS)

    def fault(self, name: str, what: str, mac: str = "") -> None:
        """Something befalls a machine: see the names above."""
        provider, identity = self._provider(name)
        variables = {}
        if provider == "libvirt":
            variables["LIBVIRT_DEFAULT_URI"] = f"qemu:///{'session' if self.emulated else 'system'}"
            if self.emulated:
                variables.update(dict.fromkeys(_FOLDERS, str(self.data / "s")))
        for command in _FAULTS[provider][what]:
            words = [word.format(id=identity, mac=mac) for word in command]
            done = self._quick(*words, **variables)
            require(done.returncode == 0, f"{' '.join(words)}: {' '.join(done.stderr.split())}")

    def _provider(self, name: str) -> tuple[str, str]:
        for provider in _FAULTS:
            file = self.data / "machines" / name / provider / "id"
            if file.is_file():
                return provider, file.read_text(encoding="ascii").strip()
        raise NotPlayed(f"Vagrant made no machine {name}")


def _only_here(path: Path) -> bool:
    """Does no machine run this file? Then it may change without their knowing."""
    return path.parent.name == "vagrant" and path.name != "agent.py"


def _plan(name: str, about: Mapping[str, Any]) -> MachinePlan:
    addresses = tuple(address.partition("/")[0] for address in about["cables"].values())
    return MachinePlan(name, about["letter"], addresses)
