# SPDX-License-Identifier: Apache-2.0
"""Names that the traced kernel gives to its numbers.

They are read from that kernel (its BTF) and travel with a recording: the numbers are no ABI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KernelNames:
    """Enum names of one kernel.

    Attributes:
        tcp_states: number to name, without the ``TCP_`` prefix (``ESTABLISHED``).
        reset_reasons: ``enum sk_rst_reason`` without its prefix; empty where the kernel has none.
        drop_reasons: ``enum skb_drop_reason`` without its prefix; empty where it has none.
        hz: jiffies per second.
    """

    tcp_states: Mapping[int, str]
    reset_reasons: Mapping[int, str]
    drop_reasons: Mapping[int, str]
    hz: int

    def state(self, name: str) -> int:
        """Number of a TCP state. Raises KeyError when the kernel has no such state."""
        for number, known in self.tcp_states.items():
            if known == name:
                return number
        raise KeyError(name)

    def reset_reason(self, name: str) -> int:
        """Number of a reset reason; -1 when the kernel has no such reason."""
        return next((n for n, known in self.reset_reasons.items() if known == name), -1)

    def drop_reason(self, name: str) -> int:
        """Number of a drop reason; -1 when the kernel has no such reason."""
        return next((n for n, known in self.drop_reasons.items() if known == name), -1)
