# SPDX-License-Identifier: Apache-2.0
"""Where a BPF program is attached. Names only: ``load.attachment`` does it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class AttachType(Enum):
    """What a program is attached to."""

    RAW_TRACEPOINT = "raw tracepoint"
    FENTRY = "fentry"
    FEXIT = "fexit"
    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"


# A kernel has both types of a family or neither. Best first: a trampoline is cheaper than a breakpoint.
FAMILIES = {
    AttachType.FENTRY: frozenset({AttachType.FENTRY, AttachType.FEXIT}),
    AttachType.KPROBE: frozenset({AttachType.KPROBE, AttachType.KRETPROBE}),
}


@dataclass(frozen=True, slots=True)
class AttachPoint:
    """One program and where it is attached.

    Attributes:
        program: its name.
        target: raw tracepoint or function.
        type: how.
        function: BTF id of the function; 0 for a raw tracepoint.
    """

    program: str
    target: str
    type: AttachType = AttachType.RAW_TRACEPOINT
    function: int = 0
