# SPDX-License-Identifier: Apache-2.0
"""One host of a topology: a network namespace of its own, seen from this process.

A socket stays in the namespace in which it was created, so one process can own both ends of a
connection. Everything here changes the namespace of the calling thread only, and changes it back.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tracetw.lab.net.reaper import note_namespace
from tracetw.lab.net.spawn import UnsharedSocket, run
from tracetw.lab.polling import patient, require

__all__ = [
    "FAMILIES",
    "NETNS_DIR",
    "PORT",
    "STATES",
    "SYSCTLS",
    "TIMEOUT_S",
    "ZERO_WINDOW_PROBE",
    "Host",
    "alone",
    "counted",
    "listed",
    "rare_numbers",
]

CLONE_NEWNET = 0x40000000
CROWD = 64
NETNS_DIR = Path("/run/netns")
PORT = 7000
TIMEOUT_S = 15.0
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

# Every setting that a verdict depends on, so that no scenario depends on the machine it runs on.
SYSCTLS: Mapping[str, int] = {
    "tcp_retries1": 3,
    "tcp_retries2": 15,
    "tcp_orphan_retries": 0,
    "tcp_fin_timeout": 60,
    "tcp_syn_retries": 6,
    "tcp_synack_retries": 5,
    "tcp_keepalive_time": 7200,
    "tcp_keepalive_intvl": 75,
    "tcp_keepalive_probes": 9,
    "tcp_timestamps": 1,
    "tcp_tw_reuse": 2,
    "tcp_rfc1337": 0,
    "tcp_max_tw_buckets": 65536,
    "tcp_abort_on_overflow": 0,
    "tcp_syncookies": 1,
}

# include/net/tcp_states.h, as /proc/net/tcp prints them.
STATES = (
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
)

LISTEN = "0A"
ZERO_WINDOW_PROBE = 4
"""Number of a timer in /proc/net/tcp: everything sent is acknowledged, the rest must wait."""

_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Host:
    """A named network namespace. ``letter`` is what scenarios call it: A, B or R; ``device`` is its first interface."""

    device = "eth0"

    def __init__(self, name: str, letter: str, addresses: Mapping[int, str]) -> None:
        self.name = name
        self.letter = letter
        self.addresses = addresses
        note_namespace(name)
        status, _, errors = run(["ip", "netns", "add", name])
        require(status == 0, f"ip netns add {name}: {errors.strip()}")
        self._fd = os.open(NETNS_DIR / name, os.O_RDONLY | os.O_CLOEXEC)
        self.netns = os.fstat(self._fd).st_ino

    def remove(self) -> None:
        """Drop the name; the namespace goes when its last socket and process have gone."""
        self.forget()
        if (NETNS_DIR / self.name).exists():
            status, _, errors = run(["ip", "netns", "del", self.name])
            require(status == 0, f"ip netns del {self.name}: {errors.strip()}")

    def forget(self) -> None:
        """Leave the namespace alone: nothing here holds it any longer. May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread, and what it starts, is in this namespace."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self._fd)
            try:
                yield
            finally:
                _setns(before)
        finally:
            os.close(before)

    def fileno(self) -> int:
        """Descriptor of the namespace, as netlink wants it."""
        return self._fd

    def tcp_socket(
        self, family: int = 4, timeout_s: float | None = TIMEOUT_S, protocol: int = 0
    ) -> UnsharedSocket:
        """A TCP socket of this host, with a timeout so that no scenario hangs.

        ``protocol`` may be IPPROTO_MPTCP.
        """
        with self.entered():
            made = UnsharedSocket(FAMILIES[family], socket.SOCK_STREAM, protocol)
        made.settimeout(None if timeout_s is None else patient(timeout_s))
        return made

    def listen(
        self, family: int = 4, port: int = PORT, backlog: int = 16, protocol: int = 0
    ) -> UnsharedSocket:
        """A listener on every address of the family."""
        listener = self.tcp_socket(family, protocol=protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", port))
        listener.listen(backlog)
        return listener

    def inside(self, command: Iterable[str]) -> list[str]:
        """The command that runs ``command`` in this namespace."""
        return ["nsenter", f"--net={NETNS_DIR / self.name}", "--", *command]

    def run(self, *argv: str, text: str = "") -> str:
        """Output of a command inside this namespace; its failure is ours."""
        with self.entered():
            status, output, errors = run(argv, text)
        require(status == 0, f"{' '.join(argv)}: {errors.strip()}")
        return output

    def sysctl(self, **values: int | str) -> None:
        """Write ``net.ipv4`` settings of this namespace; a setting the kernel lacks raises."""
        with self.entered():
            for name, value in values.items():
                Path("/proc/sys/net/ipv4", name).write_text(f"{value}\n")

    def has_sysctl(self, name: str) -> bool:
        """Whether this kernel has a setting."""
        with self.entered():
            return Path("/proc/sys/net/ipv4", name).exists()

    def counters(self) -> dict[str, int]:
        """The kernel's own counters of this namespace: groups Tcp, TcpExt and MPTcpExt by nstat name."""
        return counted(self._proc("snmp", "netstat"))

    def states(self, port: int = PORT) -> list[str]:
        """State names of this host's sockets with ``port`` at either end, without listeners.

        Includes the timewait sockets: FIN_WAIT2 and TIME_WAIT without a struct sock.
        """
        return [STATES[int(fields[3], 16)] for fields in self._sockets(port)]

    def unread(self, port: int = PORT) -> int:
        """Bytes that wait for the applications of those sockets."""
        return sum(int(fields[4].split(":")[1], 16) for fields in self._sockets(port))

    def timers(self, port: int = PORT) -> list[int]:
        """Which timer each of those sockets has running (``tr`` of /proc/net/tcp): see the names."""
        return [int(fields[5].split(":")[0], 16) for fields in self._sockets(port)]

    def _sockets(self, port: int) -> list[list[str]]:
        return listed(self._proc("tcp", "tcp6"), port)

    def _proc(self, *files: str) -> list[str]:
        """Files of ``/proc/net`` in this namespace."""
        with self.entered():
            return [Path("/proc/thread-self/net", file).read_text() for file in files]


def counted(texts: Iterable[str]) -> dict[str, int]:
    """Counters by name, out of ``/proc/net/snmp`` and ``netstat``."""
    found: dict[str, int] = {}
    for text in texts:
        lines = text.splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            group = names.split(":")[0]
            if group in ("Tcp", "TcpExt", "MPTcpExt"):
                pairs = zip(names.split()[1:], values.split()[1:], strict=True)
                found.update({name: int(value) for name, value in pairs})
    return found


def listed(texts: Iterable[str], port: int) -> list[list[str]]:
    """Fields of ``/proc/net/tcp`` and ``tcp6`` of the sockets with this port, without the listeners."""
    found = []
    for text in texts:
        for line in text.splitlines()[1:]:
            fields = line.split()
            ports = {int(address.rsplit(":", 1)[1], 16) for address in fields[1:3]}
            if port in ports and fields[3] != LISTEN:
                found.append(fields)
    return found


@contextmanager
def alone(**settings: int | str) -> Iterator[Host]:
    """A host with nothing but a loopback interface that is up, and these ``net.ipv4`` settings."""
    host = Host(f"tracetw-{secrets.token_hex(4)}", "a", {4: "127.0.0.1", 6: "::1"})
    try:
        host.run("ip", "link", "set", "lo", "up")
        host.sysctl(**settings)
        yield host
    finally:
        host.remove()


@contextmanager
def rare_numbers() -> Iterator[None]:
    """Namespaces made meanwhile have numbers that others will not get soon after them.

    The kernel gives the lowest that is free, to anybody on this machine. Here many lower ones are
    taken, and given back at the end.
    """
    with ExitStack() as stack:
        for _ in range(CROWD):
            stack.callback(os.close, _nameless())
        yield


def _nameless() -> int:
    """Descriptor of a new namespace that only this descriptor keeps."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _setns(before)
    finally:
        os.close(before)
