# SPDX-License-Identifier: Apache-2.0
"""Asks the kernel what its BTF does not tell: each question is a tiny program that is loaded and closed."""

from __future__ import annotations

import os
import struct

from tracetw.kernel.attach_point import FAMILIES, AttachPoint
from tracetw.kernel.btf import Btf
from tracetw.kernel.capability import Answers
from tracetw.kernel.function_probe import candidates
from tracetw.kernel.load import attachment, bpf

__all__ = ["ask", "has_cmpxchg"]

# Of struct bpf_insn, include/uapi/linux/bpf.h: code, source and destination register, offset, immediate.
_INSN = struct.Struct("=BBhi")
_RETURN_0 = (
    (0xB7, 0x00, 0, 0),  # r0 = 0
    (0x95, 0x00, 0, 0),  # exit
)
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
    it refuses them to us. So a program that does nothing is attached for a moment.
    """
    found = candidates(btf)
    refused = dict.fromkeys(FAMILIES, "no function that is looked for")
    if found:
        row, function, _ = found[0]
        for family in FAMILIES:
            refused[family] = _refusal(AttachPoint("trial", row.function, family, function))
    return Answers(refused, cmpxchg=has_cmpxchg())


def has_cmpxchg() -> bool:
    """Linux has it since commit 5ffa25502b5a ("bpf: Add instructions for atomic_[cmp]xchg"), 5.12.

    False also where no program can be loaded at all: what is loaded next says why.
    """
    try:
        fd = bpf.load("cmpxchg", _code(_CMPXCHG))
    except OSError:
        return False
    os.close(fd)
    return True


def _refusal(point: AttachPoint) -> str:
    """The kernel's error for an attach point; empty when it takes it."""
    try:
        program = attachment.load(point, _code(_RETURN_0))
        try:
            os.close(attachment.attach(point, program))
        finally:
            os.close(program)
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""


def _code(program: tuple[tuple[int, int, int, int], ...]) -> bytes:
    return b"".join(_INSN.pack(*insn) for insn in program)
