# SPDX-License-Identifier: Apache-2.0
"""The part of a filter that the kernel evaluates, and its values as ``bpf/filter.h`` reads them.

Made of integers only; user space evaluates the whole filter again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tracetw.kernel.filter_values import FILTER_VALUES

PortRange: TypeAlias = tuple[int, int]

MOST_VALUES = FILTER_VALUES["netns"].shape[0]
"""Of one kind, that there is room for."""


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
    """The conditions that BPF can evaluate, of each kind ``MOST_VALUES`` at most.

    An empty one always holds. ``nets4`` and ``nets6`` are one condition: when either is not empty, the
    local or the remote address must be in one of the networks; an IPv4-mapped IPv6 address (last
    word) is looked up in ``nets4`` only. Port ranges are inclusive, in host order; ``ports`` means
    either end. ``family`` is 4 or 6 as shown, 0 for both: IPv4 over an IPv6 socket is 4. What one
    condition of ``unless`` holds for is not wanted.
    """

    ports: tuple[PortRange, ...] = ()
    local_ports: tuple[PortRange, ...] = ()
    remote_ports: tuple[PortRange, ...] = ()
    nets4: tuple[KernelNet, ...] = ()
    nets6: tuple[KernelNet, ...] = ()
    netns: tuple[int, ...] = ()
    family: int = 0
    unless: KernelFilter | None = None

    def packed(self) -> bytes:
        """``struct filter`` of ``bpf/filter.h``; empty for no condition."""
        content = np.zeros(2, FILTER_VALUES)
        for row, wanted in zip(content, (self, self.unless or KernelFilter()), strict=True):
            row["family"] = wanted.family
            for name, values in _words(wanted).items():
                words = np.array(values, "u4").ravel()
                row[f"{name}_count"] = len(values)
                row[name][: len(words)] = words
        packed = content.tobytes()
        return packed if any(packed) else b""


def _words(wanted: KernelFilter) -> dict[str, list[tuple[int, ...]]]:
    """For each kind its values."""
    kinds: dict[str, list[tuple[int, ...]]] = {
        name: [(low << 16 | high,) for low, high in getattr(wanted, name)]
        for name in ("ports", "local_ports", "remote_ports")
    }
    kinds["netns"] = [(inode,) for inode in wanted.netns]
    for name in ("nets4", "nets6"):
        kinds[name] = [net.words + net.mask for net in getattr(wanted, name)]
    return kinds
