# SPDX-License-Identifier: Apache-2.0
"""Filters that no connection can pass, said before anybody waits for one."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses

from tracetw.errors import BadInput
from tracetw.stream.criteria import below
from tracetw.stream.filter import Filter
from tracetw.stream.parse import Network, PortRange
from tracetw.verdict.taxonomy import VERDICTS

_ALL_PORTS = frozenset(range(1, 1 << 16))


def check(wanted: Filter, duration_s: float | None = None) -> None:
    """Raises BadInput when no connection can match.

    Args:
        wanted: the conditions.
        duration_s: how long connections are watched; None until somebody ends it.
    """
    _verdicts(wanted)
    _ports(wanted)
    _addresses(wanted)
    _owners(wanted)
    if duration_s is not None and wanted.min_duration > duration_s:
        raise BadInput(
            f"--min-duration {wanted.min_duration:g}s is longer than --duration {duration_s:g}s:"
            " nothing can be seen living so long",
            "watch longer, or ask for less",
        )


def _verdicts(wanted: Filter) -> None:
    if wanted.possible_verdicts():
        return
    if wanted.verdicts and wanted.verdicts <= wanted.unless.verdicts:
        raise _nothing("--verdict", "every verdict that is wanted is excluded as well")
    if not wanted.abnormal:
        raise _nothing("--verdict", "every verdict is excluded")
    left = (wanted.verdicts or frozenset(range(len(VERDICTS)))) - wanted.unless.verdicts
    names = ", ".join(VERDICTS[index].code for index in sorted(left)[:3])
    raise BadInput(
        f"--abnormal with --verdict can match nothing: {names or 'what is left'} is normal",
        "leave out one",
    )


def _ports(wanted: Filter) -> None:
    unless = wanted.unless
    either = _numbers(unless.ports)
    local = _numbers(wanted.local_ports, _ALL_PORTS) - either - _numbers(unless.local_ports)
    remote = _numbers(wanted.remote_ports, _ALL_PORTS) - either - _numbers(unless.remote_ports)
    ports = _numbers(wanted.ports, _ALL_PORTS)
    if not local or not remote or not (ports & local or ports & remote):
        raise _nothing(
            "--port, --local-port and --remote-port together", "no two ports fulfil all of them"
        )


def _addresses(wanted: Filter) -> None:
    chosen = [net for net in wanted.nets if _version(net) in wanted.families]
    if wanted.nets and not chosen:
        (family,) = wanted.families
        raise _nothing(f"-{family} with these --addr", "they are of the other family")
    unwanted = wanted.unless.nets
    if chosen and all(_within(net, unwanted) for net in chosen):
        raise _nothing("--addr", "every address that is wanted is excluded as well")
    every = [family for family in wanted.families if not _everything(family, unwanted)]
    if not every:
        raise _nothing("--addr", "every address is excluded")


def _owners(wanted: Filter) -> None:
    unless = wanted.unless
    for option, values, excluded in (
        ("--pid", wanted.pids, unless.pids),
        ("--comm", {*wanted.comms}, {*unless.comms}),
        ("--netns", wanted.netns or frozenset(), unless.netns or frozenset()),
        ("--container", {*wanted.containers}, {*unless.containers}),
    ):
        if values and values <= excluded:
            raise _nothing(option, "every value that is wanted is excluded as well")
    if "*" in unless.comms:
        raise _nothing("--comm", "every name is excluded")
    if "" in unless.cgroups or (
        wanted.cgroups and all(below(path, unless.cgroups) for path in wanted.cgroups)
    ):
        raise _nothing("--cgroup", "every group that is wanted is excluded as well")


def _nothing(options: str, why: str) -> BadInput:
    return BadInput(f"{options} can match nothing: {why}", "leave one of them out")


def _numbers(
    ranges: Iterable[PortRange], otherwise: frozenset[int] = frozenset()
) -> frozenset[int]:
    found = frozenset(port for low, high in ranges for port in range(low, high + 1))
    return found or otherwise


def _version(net: Network) -> int:
    return 4 if isinstance(net, IPv4Network) else 6


def _within(net: Network, others: Iterable[Network]) -> bool:
    return any(
        net.version == other.version and net.subnet_of(other)  # type: ignore[arg-type]
        for other in others
    )


def _everything(family: int, nets: Iterable[Network]) -> bool:
    mine = [net for net in nets if _version(net) == family]
    return any(net.prefixlen == 0 for net in collapse_addresses(mine))  # type: ignore[type-var]
