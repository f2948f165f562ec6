# SPDX-License-Identifier: Apache-2.0
"""Which connections are wanted: parsed from options, evaluated on columns.

Values of one condition are alternatives, all conditions must hold. What the kernel can tell early
(ports, addresses, network namespace) is also offered as plain numbers for the BPF programs. User
space evaluates everything again: the kernel may let more through, never less.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import BadInput
from tracetw.event.record import F_ADDR
from tracetw.host import cgroup as cgroups_of_host
from tracetw.host import netns as namespaces
from tracetw.kernel.filter import KernelFilter, KernelNet, PortRange
from tracetw.reconcile.scope import NOTHING, Scope
from tracetw.verdict.findings import Findings
from tracetw.verdict.taxonomy import VERDICTS

__all__ = ["Filter", "closest", "seconds"]

Rows: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]
Network: TypeAlias = IPv4Network | IPv6Network
CgroupPath: TypeAlias = Callable[[int], str | None]

_INET, _INET6 = 2, 10  # AF_INET and AF_INET6 of Linux, as the record has them
_PORT_MAX = 65535
_PID_MAX = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h
_COMM_BYTES = 15  # TASK_COMM_LEN without its final zero
_MAPPED = ip_network("::ffff:0:0/96")
_MAPPED_PREFIX = np.frombuffer(bytes(10) + b"\xff\xff", dtype="u1")
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|ms|s|m|h|d)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on connections; an empty one always holds.

    Attributes:
        ports: inclusive ranges, local or remote port.
        local_ports: inclusive ranges.
        remote_ports: inclusive ranges.
        nets: local or remote address is in one of them.
        pids: process of the owner.
        comms: its command name, shell patterns.
        netns: inodes of network namespaces; None for all.
        cgroups: paths below the cgroup2 mount; everything below them belongs to them.
        verdicts: indexes in ``taxonomy.VERDICTS``.
        abnormal: only verdicts that the taxonomy calls abnormal.
        min_duration: seconds that the connection is known to have lived, at least.
    """

    ports: tuple[PortRange, ...] = ()
    local_ports: tuple[PortRange, ...] = ()
    remote_ports: tuple[PortRange, ...] = ()
    nets: tuple[Network, ...] = ()
    pids: frozenset[int] = frozenset()
    comms: tuple[str, ...] = ()
    netns: frozenset[int] | None = None
    cgroups: tuple[str, ...] = ()
    verdicts: frozenset[int] = frozenset()
    abnormal: bool = False
    min_duration: float = 0.0

    @classmethod
    def parse(
        cls,
        *,
        port: Iterable[str] = (),
        local_port: Iterable[str] = (),
        remote_port: Iterable[str] = (),
        addr: Iterable[str] = (),
        pid: Iterable[str] = (),
        comm: Iterable[str] = (),
        netns: Iterable[str] = (),
        cgroup: Iterable[str] = (),
        verdict: Iterable[str] = (),
        abnormal: bool = False,
        min_duration: str | None = None,
    ) -> Filter:
        """From the texts of the options. Raises BadInput naming the value and the valid form."""
        inodes = [namespaces.resolve(text) for text in netns]
        return cls(
            ports=_ports("--port", port),
            local_ports=_ports("--local-port", local_port),
            remote_ports=_ports("--remote-port", remote_port),
            nets=tuple(_net(part) for text in addr for part in text.split(",")),
            pids=frozenset(_pid(part) for text in pid for part in text.split(",")),
            comms=tuple(_comm(text) for text in comm),
            netns=frozenset(inodes) if inodes and namespaces.ALL not in inodes else None,
            cgroups=tuple(_cgroup(text) for text in cgroup),
            verdicts=frozenset(_verdict(part) for text in verdict for part in text.split(",")),
            abnormal=abnormal,
            min_duration=0.0 if min_duration is None else seconds("--min-duration", min_duration),
        )

    def mask(
        self, rows: Rows, findings: Findings | None, cgroup_path: CgroupPath = lambda _: None
    ) -> Mask:
        """Which of ``rows`` (dtype ``CLOSE``) are wanted.

        Args:
            rows: shape (n,), with their owners already resolved.
            findings: of the same rows; None leaves verdict and abnormality unasked, for a first
                look before judging.
            cgroup_path: path of a cgroup id, None for an unknown one.
        """
        keep = self._mask_common(rows, cgroup_path)
        if self.min_duration > 0:
            keep &= _lived(rows) >= int(self.min_duration * 1e9)
        if findings is None:
            return keep
        if self.verdicts:
            keep &= np.isin(findings.verdict, [*self.verdicts])
        if self.abnormal:
            abnormal = np.array([verdict.abnormal for verdict in VERDICTS])
            keep &= abnormal[findings.verdict]
        return keep

    def mask_events(self, rows: Rows, cgroup_path: CgroupPath = lambda _: None) -> Mask:
        """Which of the single events ``rows`` (dtype ``EVENT``) are wanted.

        An event has no verdict and no duration yet: those conditions do not apply.
        """
        return self._mask_common(rows, cgroup_path)

    def kernel(self) -> KernelFilter:
        """The part that the kernel side can evaluate."""
        return KernelFilter(
            ports=self.ports,
            local_ports=self.local_ports,
            remote_ports=self.remote_ports,
            nets4=tuple(_words(net) for net in self.nets if net.version == 4),  # noqa: PLR2004
            nets6=tuple(_words(net) for net in self.nets if net.version == 6),  # noqa: PLR2004
            netns=tuple(sorted(self.netns or ())),
        )

    def scope(self) -> Scope:
        """What of the kernel's counters can be held against what comes through."""
        rest = replace(self.kernel(), netns=())
        return Scope(netns=self.netns) if rest == Filter().kernel() else NOTHING

    def _mask_common(self, rows: Rows, cgroup_path: CgroupPath) -> Mask:
        """Conditions on the fields that both dtypes have."""
        keep = np.ones(len(rows), dtype=np.bool_)
        local, remote = rows["lport"], rows["rport"]
        if self.ports:
            keep &= _in_ranges(local, self.ports) | _in_ranges(remote, self.ports)
        if self.local_ports:
            keep &= _in_ranges(local, self.local_ports)
        if self.remote_ports:
            keep &= _in_ranges(remote, self.remote_ports)
        if self.nets:
            keep &= (rows["flags"] & F_ADDR) != 0
            family = rows["family"]
            keep &= _in_nets(rows["laddr"], family, self.nets) | _in_nets(
                rows["raddr"], family, self.nets
            )
        if self.netns is not None:
            keep &= np.isin(rows["netns"], [*self.netns])
        if self.pids:
            keep &= np.isin(rows["pid"], [*self.pids])
        if self.comms:
            keep &= _by_value(rows["comm"], lambda comm: _comm_matches(comm, self.comms))
        if self.cgroups:
            keep &= _by_value(rows["cgroup"], lambda id_: _below(cgroup_path(id_), self.cgroups))
        return keep


def seconds(option: str, text: str) -> float:
    """A time such as ``500ms`` or ``1.5`` in seconds. Raises BadInput."""
    match = _TIME.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise BadInput(
            f"{option} {text!r} is no time above 0", "give a number with ms, s, m or h, as in 500ms"
        )
    return float(match[1]) * _UNITS[match[2] or "s"]


def closest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` when ``word`` looks like a known one, else an empty string."""
    near = get_close_matches(word, [*known], n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def _ports(option: str, texts: Iterable[str]) -> tuple[PortRange, ...]:
    return tuple(_port_range(option, part) for text in texts for part in text.split(","))


def _port_range(option: str, text: str) -> PortRange:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text.strip(), re.ASCII)
    if match:
        low, high = int(match[1]), int(match[2] or match[1])
        if 1 <= low <= high <= _PORT_MAX:
            return low, high
    raise BadInput(
        f"{option} {text!r} is no port", "give 1 to 65535, a range 8000-8100 or a list 80,443"
    )


def _net(text: str) -> Network:
    try:
        net = ip_network(text.strip().strip("[]"), strict=False)
    except ValueError:
        raise BadInput(
            f"--addr {text!r} is no address or network",
            "give one as in 10.1.2.3, 10.0.0.0/8, 2001:db8::1 or 2001:db8::/32",
        ) from None
    if isinstance(net, IPv6Network) and isinstance(_MAPPED, IPv6Network) and net.subnet_of(_MAPPED):
        return ip_network((int(net.network_address) & 0xFFFFFFFF, net.prefixlen - 96))
    return net


def _pid(text: str) -> int:
    if re.fullmatch(r"\d+", text.strip(), re.ASCII) and 1 <= int(text) <= _PID_MAX:
        return int(text)
    raise BadInput(f"--pid {text!r} is no process id", f"give a number from 1 to {_PID_MAX}")


def _comm(text: str) -> str:
    if not text:
        raise BadInput("--comm '' is empty", "give a command name, as in nginx or 'python*'")
    if set(text) & set("*?["):
        return text
    return os.fsencode(text)[:_COMM_BYTES].decode(errors="backslashreplace")


def _cgroup(text: str) -> str:
    """Path below the mount point, without a final slash ("" for the root)."""
    mount = cgroups_of_host.mount_point()
    if mount is not None:
        if re.fullmatch(r"\d+", text, re.ASCII):
            path = cgroups_of_host.Cgroups(mount).path(int(text), 0.0)
        else:
            path = "/" + text.removeprefix(mount).strip("/")
        if path is not None and Path(mount + path).is_dir():
            return path.rstrip("/")
    where = "on this host" if mount is None else f"below {mount}"
    raise BadInput(
        f"--cgroup {text!r} is no cgroup {where}",
        "give a path as in /system.slice/ssh.service (see /proc/PID/cgroup), or an id",
    )


def _verdict(text: str) -> int:
    codes = [verdict.code for verdict in VERDICTS]
    code = text.strip()
    if code in codes:
        return codes.index(code)
    raise BadInput(
        f"--verdict {code!r} is no verdict{closest(code, codes)}",
        "tracetw explain lists them",
    )


def _words(net: Network) -> KernelNet:
    def native(packed: bytes) -> tuple[int, ...]:
        parts = (packed[at : at + 4] for at in range(0, len(packed), 4))
        return tuple(int.from_bytes(part, sys.byteorder) for part in parts)

    return KernelNet(native(net.network_address.packed), native(net.netmask.packed))


def _in_ranges(ports: NDArray[np.uint16], ranges: Sequence[PortRange]) -> Mask:
    keep = np.zeros(len(ports), dtype=np.bool_)
    for low, high in ranges:
        keep |= (ports >= low) & (ports <= high)
    return keep


def _in_nets(
    addresses: NDArray[np.uint8], family: NDArray[np.uint8], nets: Iterable[Network]
) -> Mask:
    """Addresses of shape (n, 16) as the record has them; IPv4-mapped ones count as IPv4."""
    keep = np.zeros(len(addresses), dtype=np.bool_)
    mapped = (family == _INET6) & (addresses[:, :12] == _MAPPED_PREFIX).all(axis=1)
    # The sixteen bytes of every address in IPv6 form; a mapped one keeps its four bytes in front.
    whole = np.where(mapped[:, None], np.roll(addresses, 4, axis=1), addresses)
    is_v4 = mapped | (family == _INET)
    for net in nets:
        size = len(net.network_address.packed)
        mask = np.frombuffer(net.netmask.packed, dtype="u1")
        words = np.frombuffer(net.network_address.packed, dtype="u1")
        inside = ((whole[:, :size] & mask) == words).all(axis=1)
        keep |= inside & (is_v4 if net.version == 4 else (family == _INET6) & ~mapped)  # noqa: PLR2004
    return keep


def _by_value(column: NDArray[Any], wanted: Callable[[Any], bool]) -> Mask:
    """Ask once for each different value of a column."""
    values, which = np.unique(column, return_inverse=True)
    answers = np.fromiter((wanted(value) for value in values.tolist()), np.bool_, len(values))
    return answers[which]


def _comm_matches(comm: bytes, patterns: Iterable[str]) -> bool:
    name = comm.decode(errors="backslashreplace")
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _below(path: str | None, parents: Iterable[str]) -> bool:
    return path is not None and any(
        path == parent or path.startswith(f"{parent}/") for parent in parents
    )


def _lived(rows: Rows) -> NDArray[np.int64]:
    """Nanoseconds between the first and the last state seen: a life is at least this long."""
    at = rows["at"].astype(np.int64)
    first = np.where(at > 0, at, np.iinfo(np.int64).max).min(axis=1)
    lived: NDArray[np.int64] = np.maximum(at.max(axis=1) - first, 0)
    return lived
