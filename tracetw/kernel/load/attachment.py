# SPDX-License-Identifier: Apache-2.0
"""Loads a program for its attach point, and attaches it.

Whatever the type, one descriptor holds the attachment, and closing it (or dying) ends it.
"""

from __future__ import annotations

import os

from tracetw.kernel.attach_point import AttachPoint, AttachType
from tracetw.kernel.load import bpf, perf

_TRACING = {AttachType.FENTRY: bpf.TRACE_FENTRY, AttachType.FEXIT: bpf.TRACE_FEXIT}
_PROBES = {AttachType.KPROBE: False, AttachType.KRETPROBE: True}


def load(point: AttachPoint, code: bytes) -> int:
    """Load a program for its attach point; its descriptor. Raises OSError with the verifier's words."""
    if point.type in _TRACING:
        program_type = bpf.ProgramType(bpf.TRACING, _TRACING[point.type], point.function)
    elif point.type in _PROBES:
        program_type = bpf.ProgramType(bpf.KPROBE)
    else:
        program_type = bpf.ProgramType(bpf.RAW_TRACEPOINT)
    return bpf.load(point.program, code, program_type)


def attach(point: AttachPoint, program: int) -> int:
    """Attach a loaded program; the descriptor that holds it. Raises OSError."""
    if point.type is AttachType.RAW_TRACEPOINT:
        return bpf.open_raw_tracepoint(program, point.target)
    if point.type in _TRACING:
        return bpf.open_raw_tracepoint(program, None)
    event = perf.open_kprobe(point.target, at_return=_PROBES[point.type])
    try:
        perf.attach_program(event, program)
    except BaseException:
        os.close(event)
        raise
    return event
