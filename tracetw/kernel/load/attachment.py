# SPDX-License-Identifier: Apache-2.0
"""How a program gets to where it runs, and whether this kernel lets it.

Whatever the kind, one descriptor holds the attachment, and closing it (or dying) ends it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import Enum

from tracetw.errors import shortage
from tracetw.kernel.load import bpf, perf

__all__ = ["Attachment", "Kind", "attach", "load", "refusal"]


class Kind(Enum):
    """What a program is attached to."""

    RAW_TRACEPOINT = "raw tracepoint"
    FENTRY = "fentry"
    FEXIT = "fexit"
    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One program and its place.

    Attributes:
        program: its name.
        target: raw tracepoint or function.
        kind: how.
        function: BTF id of the function; 0 for a raw tracepoint.
    """

    program: str
    target: str
    kind: Kind = Kind.RAW_TRACEPOINT
    function: int = 0


_TRACING = {Kind.FENTRY: bpf.TRACE_FENTRY, Kind.FEXIT: bpf.TRACE_FEXIT}
_PROBES = {Kind.KPROBE: False, Kind.KRETPROBE: True}
# r0 = 0; exit
_NOTHING = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)


def load(where: Attachment, code: bytes) -> int:
    """Load a program for its place; its descriptor. Raises OSError with the verifier's words."""
    if where.kind in _TRACING:
        kind = bpf.ProgramType(bpf.TRACING, _TRACING[where.kind], where.function)
    elif where.kind in _PROBES:
        kind = bpf.ProgramType(bpf.KPROBE)
    else:
        kind = bpf.ProgramType(bpf.RAW_TRACEPOINT)
    return bpf.load(where.program, code, kind)


def attach(where: Attachment, program: int) -> int:
    """Attach a loaded program; the descriptor that holds it. Raises OSError."""
    if where.kind is Kind.RAW_TRACEPOINT:
        return bpf.open_raw_tracepoint(program, where.target)
    if where.kind in _TRACING:
        return bpf.open_raw_tracepoint(program, None)
    event = perf.open_kprobe(where.target, at_return=_PROBES[where.kind])
    try:
        perf.attach_program(event, program)
    except BaseException:
        os.close(event)
        raise
    return event


def refusal(where: Attachment) -> str:
    """What the kernel says to an attachment at this place; empty when it takes it.

    That BTF lists a function does not tell whether the kernel has trampolines (fentry) or kprobes,
    nor whether we may use them. So a program that does nothing is attached for a moment.

    Raises OSError when a limit of this process kept us from asking.
    """
    try:
        program = load(where, _NOTHING)
        try:
            os.close(attach(where, program))
        finally:
            os.close(program)
    except OSError as error:
        if shortage(error) is not None:
            raise
        return os.strerror(error.errno or 0)
    return ""
