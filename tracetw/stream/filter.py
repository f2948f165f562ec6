# SPDX-License-Identifier: Apache-2.0
"""Which connections are wanted: parsed from options, evaluated on columns.

Values of one condition are alternatives, all conditions must hold, and no unwanted value may occur.
What the kernel can tell early (ports, addresses, family, network namespace) is also offered as plain
numbers for the BPF programs. User space evaluates everything again: the kernel may let more through,
never less.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import BadInput
from tracetw.event import fields
from tracetw.event.fields import Rows
from tracetw.host import container as containers_of_host
from tracetw.kernel.filter import MOST_VALUES, KernelFilter, KernelNet
from tracetw.reconcile.scope import NOTHING, Scope
from tracetw.stream import parse
from tracetw.stream.criteria import CgroupPath, Criteria, Mask
from tracetw.stream.parse import Network, closest, seconds
from tracetw.verdict.findings import Findings
from tracetw.verdict.taxonomy import VERDICTS

__all__ = ["HERE", "Filter", "Places", "closest", "seconds"]

_FAMILIES = frozenset({4, 6})
_NOTHING = Criteria()
_ABNORMAL = frozenset(number for number, verdict in enumerate(VERDICTS) if verdict.abnormal)
_IN_KERNEL = 4 * MOST_VALUES
"""Values that the kernel compares, at most: the verifier walks the programs once for each
(tests/kernel/test_loading.py). Of kinds for which there is no room it lets all through."""


class Places(NamedTuple):
    """How the names of a host become values; each raises BadInput for one that it does not know."""

    netns: Callable[[str], Iterable[int]]
    """Inodes; none for all."""
    cgroup: Callable[[str], Iterable[str]]
    """Paths without a final slash."""
    container: Callable[[str], Iterable[str]]
    """Beginnings of ids, or names."""


HERE = Places(parse.netns, parse.cgroup, containers_of_host.resolve)
"""This host."""


@dataclass(frozen=True, slots=True)
class Filter(Criteria):
    """Conditions on connections; an empty one always holds.

    Attributes:
        families: 4, 6 or both; an IPv4 connection of an IPv6 socket is of family 4.
        abnormal: only verdicts that the taxonomy calls abnormal.
        min_duration: seconds that the connection is known to have lived, at least.
        unless: a connection with one of these values is not wanted. What is not known of it is no
            such value.
        words: the options that said so.
    """

    families: frozenset[int] = _FAMILIES
    abnormal: bool = False
    min_duration: float = 0.0
    unless: Criteria = _NOTHING
    words: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def parse(
        cls,
        *,
        places: Places = HERE,
        four: bool = False,
        six: bool = False,
        abnormal: bool = False,
        min_duration: str | None = None,
        **texts: Sequence[str],
    ) -> Filter:
        """From the texts of the options. Raises BadInput naming the value and the valid form.

        Args:
            places: where names of namespaces, control groups and containers come from.
            four, six: only this family; both are all.
            abnormal: as the attribute.
            min_duration: a time.
            **texts: values of the options that can be given again, by name of the option: ``port``,
                ``local_port``, ``remote_port``, ``addr``, ``pid``, ``comm``, ``netns``,
                ``cgroup``, ``container``, ``verdict``.
        """
        split = {name: parse.signed(values) for name, values in texts.items()}
        if "all" in split.get("netns", ([], []))[1]:
            raise BadInput("--netns '!all' can match nothing", "leave it out")
        once = {"-4": four, "-6": six, "--abnormal": abnormal}
        return cls(
            **_values({name: pair[0] for name, pair in split.items()}, places),
            families=_FAMILIES if four == six else frozenset({4} if four else {6}),
            abnormal=abnormal,
            min_duration=0.0 if min_duration is None else seconds("--min-duration", min_duration),
            unless=Criteria(**_values({name: pair[1] for name, pair in split.items()}, places)),
            words=(
                *_words(texts),
                *(name for name, given in once.items() if given),
                *([] if min_duration is None else [f"--min-duration {shlex.quote(min_duration)}"]),
            ),
        )

    def possible_verdicts(self) -> frozenset[int]:
        """Indexes in ``taxonomy.VERDICTS`` that a wanted connection can have."""
        chosen = self.verdicts or frozenset(range(len(VERDICTS)))
        left = chosen - self.unless.verdicts
        return frozenset(one for one in left if VERDICTS[one].abnormal or not self.abnormal)

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
            keep &= fields.among(*self.verdicts)[findings.verdict]
        if self.unless.verdicts:
            keep &= ~fields.among(*self.unless.verdicts)[findings.verdict]
        if self.abnormal:
            keep &= fields.among(*_ABNORMAL)[findings.verdict]
        return keep

    def mask_events(self, rows: Rows, cgroup_path: CgroupPath = lambda _: None) -> Mask:
        """Which of the single events ``rows`` (dtype ``EVENT``) are wanted.

        An event has no verdict and no duration yet: those conditions do not apply.
        """
        return self._mask_common(rows, cgroup_path)

    def kernel(self) -> KernelFilter:
        """The part that the kernel side can evaluate."""
        wanted = _for_kernel(self, _IN_KERNEL)
        unwanted = _for_kernel(self.unless, _IN_KERNEL - sum(map(len, wanted.values())))
        return KernelFilter(
            **wanted,
            family=0 if self.families == _FAMILIES else min(self.families),
            unless=KernelFilter(**unwanted),
        )

    def scope(self) -> Scope:
        """What of the kernel's counters can be held against what comes through."""
        rest = replace(self.kernel(), netns=())
        return Scope(netns=self.netns) if rest == Filter().kernel() else NOTHING

    def _mask_common(self, rows: Rows, cgroup_path: CgroupPath) -> Mask:
        """Conditions on the fields that both dtypes have."""
        keep = np.ones(len(rows), dtype=np.bool_)
        if self.families != _FAMILIES:
            keep &= np.isin(fields.families(rows), [*self.families])
        for wanted in self.having(rows, cgroup_path):
            keep &= wanted
        for unwanted in self.unless.having(rows, cgroup_path):
            keep &= ~unwanted
        return keep


def _values(texts: Mapping[str, list[str]], places: Places) -> dict[str, Any]:
    """The attributes of ``Criteria``."""

    def of(name: str) -> list[str]:
        return texts.get(name, [])

    inodes = [[*places.netns(text)] for text in of("netns")]
    all_of_them = not inodes or not all(inodes)
    return {
        "ports": parse.ports("--port", of("port")),
        "local_ports": parse.ports("--local-port", of("local_port")),
        "remote_ports": parse.ports("--remote-port", of("remote_port")),
        "nets": parse.nets(of("addr")),
        "pids": parse.pids(of("pid")),
        "comms": parse.comms(of("comm")),
        "netns": None if all_of_them else frozenset(one for some in inodes for one in some),
        "cgroups": tuple(path for text in of("cgroup") for path in places.cgroup(text)),
        "containers": tuple(name for text in of("container") for name in places.container(text)),
        "verdicts": parse.verdicts(of("verdict")),
    }


def _words(texts: Mapping[str, Sequence[str]]) -> Iterable[str]:
    for name, values in texts.items():
        option = "--" + name.replace("_", "-")
        yield from (f"{option} {shlex.quote(value)}" for value in values)


def _for_kernel(criteria: Criteria, room: int) -> dict[str, Any]:
    """The attributes of ``KernelFilter`` that name values, of kinds that fit into ``room`` values."""
    kinds: tuple[dict[str, tuple[Any, ...]], ...] = (
        {"ports": criteria.ports},
        {"local_ports": criteria.local_ports},
        {"remote_ports": criteria.remote_ports},
        {"netns": tuple(sorted(criteria.netns or ()))},
        {
            "nets4": tuple(_masked(net) for net in criteria.nets if isinstance(net, IPv4Network)),
            "nets6": tuple(_masked(net) for net in criteria.nets if isinstance(net, IPv6Network)),
        },
    )
    found: dict[str, tuple[Any, ...]] = {}
    for kind in kinds:
        values = sum(map(len, kind.values()))
        if values <= min(room, MOST_VALUES):
            found |= kind
            room -= values
    return found


def _masked(net: Network) -> KernelNet:
    def native(packed: bytes) -> tuple[int, ...]:
        parts = (packed[at : at + 4] for at in range(0, len(packed), 4))
        return tuple(int.from_bytes(part, sys.byteorder) for part in parts)

    return KernelNet(native(net.network_address.packed), native(net.netmask.packed))


def _lived(rows: Rows) -> NDArray[np.int64]:
    """Nanoseconds between the first and the last state seen: a life is at least this long."""
    at = rows["at"].astype(np.int64)
    first = np.where(at > 0, at, np.iinfo(np.int64).max).min(axis=1)
    lived: NDArray[np.int64] = np.maximum(at.max(axis=1) - first, 0)
    return lived
