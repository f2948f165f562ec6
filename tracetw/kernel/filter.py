# SPDX-License-Identifier: Apache-2.0
"""The part of a filter that the kernel evaluates, as a C expression over ``struct close_record *r``.

Made of integers only; user space evaluates the whole filter again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["KernelFilter", "KernelNet", "PortRange", "may_pass", "passes"]

PortRange: TypeAlias = tuple[int, int]

_MAPPED = (
    "((u32 *)({side}))[0] == 0 && ((u32 *)({side}))[1] == 0 && ((u32 *)({side}))[2] == 0xffff0000u"
)
_UNKNOWN = {
    "lport": "!(r)->lport",
    "laddr": "!(((u64 *)((r)->laddr))[0] | ((u64 *)((r)->laddr))[1])",
}


@dataclass(frozen=True, slots=True)
class KernelNet:
    """A network as words to compare with memory: ``(address[i] & mask[i]) == words[i]``.

    Each word is four bytes of the address in network order, read as a native integer, just as a
    program loads it from ``skc_daddr`` or ``skc_v6_daddr``. One word for IPv4, four for IPv6.
    """

    words: tuple[int, ...]
    mask: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KernelFilter:
    """The conditions that BPF can evaluate. An empty one always holds.

    ``nets4`` and ``nets6`` are one condition: when either is not empty, the local or the remote
    address must be in one of the networks; an IPv4-mapped IPv6 address (last word) is looked up in
    ``nets4`` only. Port ranges are inclusive, in host order; ``ports`` means either end.
    ``families`` are 4 or 6 as shown: IPv4 over an IPv6 socket is 4. What one condition of ``unless``
    holds for is not wanted.
    """

    ports: tuple[PortRange, ...] = ()
    local_ports: tuple[PortRange, ...] = ()
    remote_ports: tuple[PortRange, ...] = ()
    nets4: tuple[KernelNet, ...] = ()
    nets6: tuple[KernelNet, ...] = ()
    netns: tuple[int, ...] = ()
    families: tuple[int, ...] = ()
    unless: KernelFilter | None = None


def passes(wanted: KernelFilter) -> str:
    """``1`` for no condition; else a condition for each kind, all of which must hold."""
    return " && ".join([*_netns(wanted), *_ends(wanted)]) or "1"


def may_pass(wanted: KernelFilter) -> str:
    """Whether it can still pass, of a connection that has just begun; empty for no condition.

    A listener's child has the addresses and ports of the listener at first (inet_csk_clone_lock),
    no remote port among them: then only its namespace counts. While connect() looks for a local
    port there is none. ``r`` has no flags: a socket that begins has its addresses.
    """
    known = " && ".join(_ends(wanted, begun=True))
    return " && ".join([*_netns(wanted), *([f"(!(r)->rport || ({known}))"] if known else [])])


def _netns(wanted: KernelFilter) -> Iterator[str]:
    for each, sign in ((wanted, ""), (wanted.unless, "!")):
        if each is not None and each.netns:
            yield sign + _any(f"(r)->netns == {inode}u" for inode in each.netns)


def _ends(wanted: KernelFilter, *, begun: bool = False) -> Iterator[str]:
    """Conditions on ports, addresses and families.

    A local end that is zero may still become anything if the connection has just ``begun``.
    """
    unknown = _UNKNOWN if begun else {}
    for terms in _kinds(wanted, begun=begun):
        yield _any([*(unknown[name] for name in terms if name in unknown), *terms.values()])
    if wanted.families:
        four_or_six = (_of_family(family) for family in wanted.families)
        yield _any([*([unknown["laddr"]] if begun else []), *four_or_six])
    if wanted.unless is not None:
        for terms in _kinds(wanted.unless, begun=begun):
            for name, term in terms.items():
                yield _any([*([unknown[name]] if name in unknown else []), f"!{term}"])


def _kinds(wanted: KernelFilter, *, begun: bool) -> Iterator[dict[str, str]]:
    """For each kind that names values what it asks of a field, in parentheses; one field is enough."""
    for ports, names in (
        (wanted.ports, ("lport", "rport")),
        (wanted.local_ports, ("lport",)),
        (wanted.remote_ports, ("rport",)),
    ):
        if ports:
            yield {name: _in_range(name, ports) for name in names}
    if wanted.nets4 or wanted.nets6:
        readable = "" if begun else "((r)->flags & F_ADDR) && "
        yield {
            side: f"({readable}{_in_nets(f'(r)->{side}', wanted.nets4, wanted.nets6)})"
            for side in ("laddr", "raddr")
        }


def _of_family(family: int) -> str:
    mapped = " && ".join(_MAPPED.format(side=f"(r)->{side}") for side in ("laddr", "raddr"))
    four = f"((r)->family == AF_INET || ((r)->family == AF_INET6 && {mapped}))"
    return four if family == 4 else f"!{four}"  # noqa: PLR2004


def _any(parts: Iterable[str]) -> str:
    return f"({' || '.join(parts)})"


def _in_range(name: str, ranges: Sequence[PortRange]) -> str:
    return _any(f"((r)->{name} >= {low} && (r)->{name} <= {high})" for low, high in ranges)


def _in_nets(side: str, nets4: Sequence[KernelNet], nets6: Sequence[KernelNet]) -> str:
    parts = []
    if nets4:
        for first, family in ((0, "(r)->family == AF_INET"), (3, _MAPPED.format(side=side))):
            within = _any(_masked(side, net, first) for net in nets4)
            parts.append(f"({family} && {within})")
    if nets6:
        six = f"(r)->family == AF_INET6 && !({_MAPPED.format(side=side)})"
        parts.append(f"({six} && {_any(_masked(side, net, 0) for net in nets6)})")
    return _any(parts)


def _masked(side: str, net: KernelNet, first: int) -> str:
    words = zip(net.words, net.mask, strict=True)
    terms = [
        f"(((u32 *)({side}))[{first + i}] & {mask}u) == {word}u"
        for i, (word, mask) in enumerate(words)
        if mask
    ]
    return f"({' && '.join(terms)})" if terms else "1"
