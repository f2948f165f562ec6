# SPDX-License-Identifier: Apache-2.0
"""From the texts of filter options to values. Loads no NumPy: help and completion need this, too.

A value with ``!`` in front excludes what it names, all of its comma-separated parts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from pathlib import Path
from typing import TypeAlias

from tracetw.errors import BadInput
from tracetw.host import cgroup as cgroups_of_host
from tracetw.host import netns as namespaces
from tracetw.text import decoded, visible, well_formed
from tracetw.verdict.taxonomy import VERDICTS

Network: TypeAlias = IPv4Network | IPv6Network
PortRange: TypeAlias = tuple[int, int]

COMM_BYTES = 15
"""Bytes of a process name: TASK_COMM_LEN without its final zero."""
_PORT_MAX = 65535
_PID_MAX = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h
_LONGEST_S = 90 * 365 * 86400.0  # nanoseconds since 1970 and such a time still fit 63 bits
_SHOWN = 100
_MAPPED = IPv6Network("::ffff:0:0/96")
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|ms|s|m|h|d)?", re.ASCII)
_PATTERN = re.compile(r"\[!?\]?[^\]]*\]|[*?]|[^*?]", re.DOTALL)


def signed(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """The values that are wanted, and those that are not (without their ``!``)."""
    wanted, unwanted = [], []
    for text in texts:
        if text.startswith("!"):
            unwanted.append(text[1:])
        else:
            wanted.append(text)
    return wanted, unwanted


def seconds(option: str, text: str) -> float:
    """A time such as ``500ms`` or ``1.5`` in seconds. Raises BadInput."""
    match = _TIME.fullmatch(text.strip())
    value = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
    if not 0 < value <= _LONGEST_S:
        raise BadInput(
            f"{option} {text[:_SHOWN]!r} is no time above 0 and under 90 years",
            "give a number with ms, s, m or h, as in 500ms",
        )
    return value


def closest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` when ``word`` looks like a known one, else an empty string."""
    from difflib import get_close_matches  # noqa: PLC0415  for mistakes only

    near = get_close_matches(word, [*known], n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def ports(option: str, texts: Iterable[str]) -> tuple[PortRange, ...]:
    """Inclusive ranges, in order, none next to another. Raises BadInput."""
    merged: list[PortRange] = []
    for low, high in sorted(_port_range(option, part) for part in _parts(texts)):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return tuple(merged)


def nets(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks, none within another; IPv4-mapped ones as IPv4. Raises BadInput."""
    found = [_net(part) for part in _parts(texts)]
    four = collapse_addresses(net for net in found if isinstance(net, IPv4Network))
    six = collapse_addresses(net for net in found if isinstance(net, IPv6Network))
    return (*four, *six)


def pids(texts: Iterable[str]) -> frozenset[int]:
    """Process ids. Raises BadInput."""
    return frozenset(_pid(part) for part in _parts(texts))


def comms(texts: Iterable[str]) -> tuple[str, ...]:
    """Shell patterns for names as the kernel keeps them: 15 bytes. Raises BadInput."""
    return tuple(_comm(text) for text in texts)


def verdicts(texts: Iterable[str]) -> frozenset[int]:
    """Indexes in ``taxonomy.VERDICTS``. Raises BadInput."""
    return frozenset(_verdict(part) for part in _parts(texts))


def netns(text: str) -> tuple[int, ...]:
    """The inode of a network namespace of this host; () for all. Raises BadInput."""
    inode = namespaces.resolve(text)
    return () if inode == namespaces.ALL else (inode,)


def cgroup(text: str) -> tuple[str, ...]:
    """Path of a group of this host, below the mount, without a final slash. Raises BadInput."""
    mount = cgroups_of_host.mount_point()
    if mount is not None:
        if re.fullmatch(r"\d{1,20}", text, re.ASCII):
            path = cgroups_of_host.Cgroups(mount).path(int(text), 0.0)
        else:
            path = "/" + text.removeprefix(mount).strip("/")
        with suppress(OSError, ValueError):  # too long, or no path at all
            if path is not None and Path(mount + path).is_dir():
                return (well_formed(path).rstrip("/"),)
        for known in cgroups_of_host.Cgroups(mount).paths():
            if path in (known, visible(known)):  # as it is printed
                return (known,)
    where = "on this host" if mount is None else f"below {mount}"
    raise BadInput(
        f"--cgroup {text!r} is no cgroup {where}",
        "give a path as in /system.slice/ssh.service (see /proc/PID/cgroup), or an id",
    )


def _parts(texts: Iterable[str]) -> Iterable[str]:
    return (part.strip() for text in texts for part in text.split(","))


def _port_range(option: str, text: str) -> PortRange:
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text, re.ASCII)
    if match:
        low, high = int(match[1]), int(match[2] or match[1])
        if 1 <= low <= high <= _PORT_MAX:
            return low, high
    raise BadInput(
        f"{option} {text!r} is no port", "give 1 to 65535, a range 8000-8100 or a list 80,443"
    )


def _net(text: str) -> Network:
    try:
        net = ip_network(text.strip("[]"), strict=False)
    except ValueError:
        raise BadInput(
            f"--addr {text!r} is no address or network",
            "give one as in 10.1.2.3, 10.0.0.0/8, 2001:db8::1 or 2001:db8::/32",
        ) from None
    if isinstance(net, IPv6Network) and net.subnet_of(_MAPPED):
        return ip_network((int(net.network_address) & 0xFFFFFFFF, net.prefixlen - 96))
    return net


def _pid(text: str) -> int:
    if re.fullmatch(r"\d{1,7}", text, re.ASCII) and 1 <= int(text) <= _PID_MAX:
        return int(text)
    raise BadInput(f"--pid {text!r} is no process id", f"give a number from 1 to {_PID_MAX}")


def _comm(text: str) -> str:
    if not text:
        raise BadInput("--comm '' is empty", "give a command name, as in nginx or 'python*'")
    if "\\" in text:
        return well_formed(text)  # an escape is shorter in the name than it is printed
    if not set(text) & set("*?["):
        # As users write it and as they know it from ps: the kernel cut it when the process began.
        return decoded(os.fsencode(text)[:COMM_BYTES])
    pieces = [piece for piece in _PATTERN.findall(text) if piece != "*"]
    least = sum(len(os.fsencode(piece)) if len(piece) == 1 else 1 for piece in pieces)
    if least > COMM_BYTES:
        raise BadInput(
            f"--comm {text!r} can match nothing: it asks for {least} bytes or more, and the kernel"
            f" keeps {COMM_BYTES} of a name",
            f"end it earlier, as in {text[:8] + '*'!r}",
        )
    return well_formed(text)


def _verdict(code: str) -> int:
    codes = [verdict.code for verdict in VERDICTS]
    if code in codes:
        return codes.index(code)
    raise BadInput(
        f"--verdict {code!r} is no verdict{closest(code, codes)}",
        "tracetw explain lists them",
    )
