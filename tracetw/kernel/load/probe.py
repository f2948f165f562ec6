# SPDX-License-Identifier: Apache-2.0
"""Asks the kernel what its BTF does not say: each question is a tiny program, loaded and closed."""

from __future__ import annotations

import os
import struct

from tracetw.errors import shortage
from tracetw.kernel.attach_point import FAMILIES, AttachPoint, AttachType
from tracetw.kernel.btf import Btf
from tracetw.kernel.capability import Answers
from tracetw.kernel.function_probe import candidates
from tracetw.kernel.load import attachment, bpf

# Of struct bpf_insn, include/uapi/linux/bpf.h: code, source and destination register, offset, immediate.
_INSN = struct.Struct("=BBhi")
_RETURN_0 = (
    (0xB7, 0x00, 0, 0),  # r0 = 0
    (0x95, 0x00, 0, 0),  # exit
)
# The kernel looks for the function when it loads the program (bpf_check_attach_target), not when it attaches it.
_AT_LOAD = FAMILIES[AttachType.FENTRY]
_CMPXCHG = (
    (0xB7, 0x00, 0, 0),  # r0 = 0
    (0x7B, 0x0A, -8, 0),  # *(u64 *)(r10 - 8) = r0
    (0xB7, 0x01, 0, 0),  # r1 = 0
    (0xDB, 0x1A, -8, 0xF1),  # r0 = cmpxchg((u64 *)(r10 - 8), r0, r1)
    *_RETURN_0,
)


def ask(btf: Btf) -> Answers:
    """What this kernel takes: attachments to functions, and atomic compare-and-exchange.

    BTF lists functions also where the kernel has neither trampolines (fentry) nor kprobes, and where
    it refuses them to us: so attach a program that does nothing, for a moment. BTF also lists a function that the
    compiler replaced by a clone with fewer parameters: so ask for each.

    Raises OSError when a limit of this process keeps us from asking.
    """
    refused = dict.fromkeys(FAMILIES, "no function that is looked for")
    absent = set()
    for row, function, _ in candidates(btf):
        errors = {}
        # The best family that has taken one is enough: loading is cheap, attaching waits for every CPU.
        known = [family for family in FAMILIES if not refused[family]]
        for family in known[:1] or FAMILIES:
            point = AttachPoint("trial", row.function, family, function)
            errors[family] = _refusal(point, attach=family not in known or family not in _AT_LOAD)
        if all(errors.values()):
            absent.add(row.program)
        if not known:
            refused |= errors
    return Answers(refused, cmpxchg=has_cmpxchg(), absent=frozenset(absent))


def has_cmpxchg() -> bool:
    """Linux has it since commit 5ffa25502b5a ("bpf: Add instructions for atomic_[cmp]xchg"), 5.12.

    False also where no program can be loaded at all: what is loaded next says why.
    """
    try:
        fd = bpf.load("cmpxchg", _code(_CMPXCHG))
    except OSError as error:
        if shortage(error) is not None:
            raise
        return False
    os.close(fd)
    return True


def _refusal(point: AttachPoint, *, attach: bool) -> str:
    """The kernel's error for an attach point; empty when it takes it, or with ``attach`` false would."""
    try:
        program = attachment.load(point, _code(_RETURN_0))
        try:
            if attach:
                os.close(attachment.attach(point, program))
        finally:
            os.close(program)
    except OSError as error:
        if shortage(error) is not None:
            raise
        return os.strerror(error.errno or 0)
    return ""


def _code(program: tuple[tuple[int, int, int, int], ...]) -> bytes:
    return b"".join(_INSN.pack(*insn) for insn in program)
