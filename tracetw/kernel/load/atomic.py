# SPDX-License-Identifier: Apache-2.0
"""The atomic compare and exchange, for a compiler that does not know it.

LLVM has BPF_CMPXCHG since version 12; BCC of Ubuntu 22.04 is built with LLVM 11. There the programs call a helper
of a number that no kernel has, with the place, the value from and the value to in r1, r2 and r3, and the call is
replaced by the instructions that do the same (``___bpf_prog_run`` in kernel/bpf/core.c: r0 is what the place is
compared with, and what was there).
"""

from __future__ import annotations

import struct

CALL = 1_000_002
FLAG = f"-DCMPXCHG_CALL={CALL}"
"""For the compiler."""
_INSTRUCTION = struct.Struct("=BBhi")
_MARK = _INSTRUCTION.pack(0x85, 0, 0, CALL)
# r0 = r2; r0 = cmpxchg((u64 *)(r1 + 0), r0, r3)
_CODE = _INSTRUCTION.pack(0xBF, 0x20, 0, 0) + _INSTRUCTION.pack(0xDB, 0x31, 0, 0xF1)
_SIZE = 8
# Classes of instructions, and the jumps that go nowhere by their offset: call and exit.
_CLASS, _JUMPS, _NO_JUMPS = 0x07, (0x05, 0x06), (0x85, 0x95)


def expand(code: bytes) -> bytes:
    """A program with each such call replaced, and the jumps across them made longer."""
    if _MARK not in code:
        return code
    old = [code[at : at + _SIZE] for at in range(0, len(code), _SIZE)]
    # Where each instruction is afterwards: behind those that were put in before it.
    place, places = 0, []
    for instruction in old:
        places.append(place)
        place += 2 if instruction == _MARK else 1
    places.append(place)
    return b"".join(
        _CODE if instruction == _MARK else _moved(instruction, number, places)
        for number, instruction in enumerate(old)
    )


def _moved(instruction: bytes, number: int, places: list[int]) -> bytes:
    opcode, registers, offset, value = _INSTRUCTION.unpack(instruction)
    # The second half of a load of 64 bits has opcode 0, of no class of jumps.
    if opcode & _CLASS not in _JUMPS or opcode in _NO_JUMPS:
        return instruction
    offset = places[number + 1 + offset] - places[number + 1]
    return _INSTRUCTION.pack(opcode, registers, offset, value)
