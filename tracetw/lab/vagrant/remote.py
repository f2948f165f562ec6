# SPDX-License-Identifier: Apache-2.0
"""A machine as a host of a scenario, and what lives on it: the same verbs as of a network namespace.

What only a namespace of this kernel can give (a packet socket, netlink, a socket that two processes hold) raises
:class:`Elsewhere`: the scenario cannot be played between machines, and says so.
"""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from tracetw.lab.net.actor_process import Actor
from tracetw.lab.net.host import FAMILIES, TIMEOUT_S, Host, counted, listed
from tracetw.lab.net.spawn import UnsharedSocket
from tracetw.lab.polling import NotPlayed, patient, require
from tracetw.lab.vagrant.ssh import CHECKOUT, Way

NETWORK = "10.98.0.0/16"
"""Where all addresses of the labs between machines are."""
_PROC = ("/proc/net/tcp", "/proc/net/tcp6")
_COUNTERS = ("/proc/net/snmp", "/proc/net/netstat")
_SETTLE_S = 30.0


class Elsewhere(NotPlayed):
    """The play wants something of a host that a machine at the other end of a wire does not give."""


class RemoteSocket(UnsharedSocket):
    """A socket of another machine; its methods are called there. It has no descriptor here."""

    def __init__(self, way: Way, number: int) -> None:
        # The base class needs one to be whole; nothing is ever done with it.
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        super().close()
        self._way, self._number = way, number
        self._timeout: float | None = None
        self._open = True

    def _call(self, method: str, *arguments: Any) -> Any:  # noqa: ANN401 (of any method)
        longest = 600.0 if self._timeout is None else self._timeout + 60.0
        return self._way.ask("call", self._number, method, *arguments, wait_s=longest)

    def connect(self, address: Any) -> None:  # noqa: ANN401 (as socket)
        self._call("connect", list(address))

    def connect_ex(self, address: Any) -> int:  # noqa: ANN401 (as socket)
        return int(self._call("connect_ex", list(address)))

    def bind(self, address: Any) -> None:  # noqa: ANN401 (as socket)
        self._call("bind", list(address))

    def listen(self, backlog: int = 16, /) -> None:
        self._call("listen", backlog)

    def accept(self) -> tuple[RemoteSocket, Any]:
        number, address = self._call("accept")
        return RemoteSocket(self._way, number), tuple(address)

    def send(self, data: Any, flags: int = 0, /) -> int:  # noqa: ANN401 (as socket)
        return int(self._call("send", bytes(data), flags))

    def sendall(self, data: Any, flags: int = 0, /) -> None:  # noqa: ANN401 (as socket)
        self._call("sendall", bytes(data), flags)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        return bytes(self._call("recv", size, flags))

    def shutdown(self, how: int, /) -> None:
        self._call("shutdown", int(how))

    def setsockopt(self, level: int, name: int, value: Any, length: Any = None, /) -> None:  # noqa: ANN401 (as socket)
        require(length is None, "a setsockopt() that nothing here uses")
        self._call(
            "setsockopt", int(level), int(name), value if isinstance(value, bytes) else int(value)
        )

    def getsockopt(self, level: int, name: int, size: int = 0, /) -> Any:  # noqa: ANN401 (as socket)
        return self._call("getsockopt", int(level), int(name), *([size] if size else []))

    def getsockname(self) -> Any:  # noqa: ANN401 (as socket)
        return tuple(self._call("getsockname"))

    def getpeername(self) -> Any:  # noqa: ANN401 (as socket)
        return tuple(self._call("getpeername"))

    def settimeout(self, value: float | None, /) -> None:
        self._timeout = value
        self._call("settimeout", value)

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001 (as socket)
        self.settimeout(None if flag else 0.0)

    def fileno(self) -> int:
        """A descriptor of this machine, for poll(): there is none."""
        raise Elsewhere("it waits for a socket by a descriptor of this machine")

    def close(self) -> None:
        """Closed there; what has gone with its machine is closed."""
        if getattr(self, "_open", False):
            self._open = False
            with suppress(NotPlayed):
                self._call("close")


class RemoteActor(Actor):
    """As :class:`tracetw.lab.net.actor_process.Actor`, on another machine: the same program."""

    def __init__(self, comm: str, way: Way) -> None:
        self.comm = comm
        self._way = way
        program = f"{CHECKOUT}/tracetw/lab/net/actor.py"
        self._number, self.pid = way.ask("spawn", ["python3", "-S", "-I", program, comm])

    def order(self, verb: str, *arguments: object) -> None:
        """Give an order and do not wait for its end."""
        self._way.ask("write", self._number, json.dumps([verb, *arguments]).encode() + b"\n")

    def _line(self) -> bytes:
        return bytes(self._way.ask("line", self._number, wait_s=120.0))

    def dumped_core(self) -> bool:
        """Whether its death left a core: asked of this machine's own processes only."""
        raise Elsewhere("it asks for the core file of a process")

    def freeze(self) -> None:
        """It runs no more; its kernel goes on."""
        self._way.ask("signal", self.pid, int(signal.SIGSTOP))

    def thaw(self) -> None:
        """It runs again."""
        self._way.ask("signal", self.pid, int(signal.SIGCONT))

    def wait(self) -> int:
        """Exit status once dead."""
        status, _ = self._way.ask("wait", self._number, patient(_SETTLE_S), wait_s=_SETTLE_S * 2)
        require(status is not None, f"{self.comm} does not end")
        return int(status)

    def kill(self) -> None:
        """SIGKILL; what has gone with its machine is dead."""
        with suppress(NotPlayed):
            self._way.ask("kill", self._number, int(signal.SIGKILL))

    def close(self) -> None:
        """Kill it."""
        self.kill()


class Machine(Host):
    """A host that is a machine. ``way`` leads to its agent; another one after a reboot.

    Args:
        name: as in the Vagrantfile.
        letter: what scenarios call it.
        address: of its interface of the lab, IPv4.
        device: name of that interface.
    """

    def __init__(self, name: str, letter: str, address: str, way: Way) -> None:
        self.name = name
        self.letter = letter
        self.addresses: Mapping[int, str] = {4: address}
        self.netns = 0
        self.way = way
        self.about: dict[str, Any] = way.ask("hello")
        self.device = self._interface(address)
        self.before: dict[str, int] = {}
        self._lock = threading.Lock()

    def _interface(self, address: str) -> str:
        for entry in json.loads(self.run("ip", "-j", "-4", "addr")):
            if any(info["local"] == address for info in entry["addr_info"]):
                return str(entry["ifname"])
        raise NotPlayed(
            f"{self.name} has no interface with {address}; vagrant provision {self.name}"
        )

    def link_address(self) -> str:
        """MAC of that interface."""
        return str(
            json.loads(self.run("ip", "-j", "link", "show", "dev", self.device))[0]["address"]
        )

    def start_counting(self) -> None:
        """:meth:`counters` count from here on: a machine is not new as a namespace is."""
        self.before = {}
        self.before = self.counters()

    def remove(self) -> None:
        """Nothing: the machine stays."""

    def forget(self) -> None:
        """Nothing: the machine stays."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """A thread cannot be on another machine."""
        if self.letter:
            raise Elsewhere("it opens a packet socket or asks netlink inside the host")
        yield

    def tcp_socket(
        self, family: int = 4, timeout_s: float | None = TIMEOUT_S, protocol: int = 0
    ) -> RemoteSocket:
        """A TCP socket of this host, with a timeout so that no scenario hangs."""
        number = self.way.ask("socket", int(FAMILIES[family]), int(socket.SOCK_STREAM), protocol)
        made = RemoteSocket(self.way, number)
        made.settimeout(None if timeout_s is None else patient(timeout_s))
        return made

    def run(self, *argv: str, text: str = "") -> str:
        """Output of a command there; its failure is ours."""
        status, output, errors = self.way.ask("run", list(argv), text)
        require(status == 0, f"{self.name}: {Way.words(argv)}: {errors.strip()}")
        return str(output)

    def sysctl(self, **values: int | str) -> None:
        """Write ``net.ipv4`` settings; :meth:`put_right` brings back what they were."""
        self.set({f"net/ipv4/{name}": value for name, value in values.items()})

    def set(self, values: Mapping[str, int | str]) -> None:
        """The same below ``/proc/sys``."""
        texts = {f"/proc/sys/{path}": f"{value}\n" for path, value in values.items()}
        self.way.ask("set", texts)

    def put_right(self) -> None:
        """As it was before any play, whatever became of the last one: settings, addresses, routes, rules, connections."""
        self.way.ask("restore")
        self.run("/usr/local/sbin/tracetw-lab-net")
        self.run("ss", "-K", "src", NETWORK)
        self.way.ask("clock", time.time_ns())

    def has_sysctl(self, name: str) -> bool:
        """Whether its kernel has a setting."""
        return name in self.way.ask("names", "/proc/sys/net/ipv4")

    def counters(self) -> dict[str, int]:
        """The kernel's counters since :meth:`start_counting`; of a machine that rebooted, since it did."""
        found = counted(self.way.ask("read", *_COUNTERS))
        return {name: value - self.before.get(name, 0) for name, value in found.items()}

    def inside(self, command: Any) -> list[str]:  # noqa: ANN401 (as Host)
        """A command of this machine cannot run there."""
        raise Elsewhere(f"it runs {next(iter(command))} of this machine on the host")

    def _sockets(self, port: int) -> list[list[str]]:
        return listed(self.way.ask("read", *_PROC), port)

    def is_up(self) -> bool:
        """Does the agent answer?"""
        try:
            self.way.ask("now", wait_s=10.0)
        except NotPlayed:
            return False
        return True
