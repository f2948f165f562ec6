# SPDX-License-Identifier: Apache-2.0
"""Putting compare and exchange into byte code of a compiler that has none: what jumps across it still arrives."""

from __future__ import annotations

import random
import struct

import pytest

from tracetw.kernel.load.atomic import CALL, expand

INSTRUCTION = struct.Struct("=BBhi")
MARK = INSTRUCTION.pack(0x85, 0, 0, CALL)
TWO = bytes.fromhex("bf20000000000000db310000f1000000")
EXIT = INSTRUCTION.pack(0x95, 0, 0, 0)


def step(value: int) -> bytes:
    """r6 = value: one that can be told from the others."""
    return INSTRUCTION.pack(0xB7, 6, 0, value)


def jump(offset: int, opcode: int = 0x05) -> bytes:
    return INSTRUCTION.pack(opcode, 0, offset, 0)


def test_code_without_such_a_call_stays() -> None:
    other = INSTRUCTION.pack(0x85, 0, 0, 1) + jump(-2) + EXIT
    assert expand(other) is other


@pytest.mark.parametrize("opcode", [0x05, 0x15, 0x1D, 0x56, 0x5E])
def test_jumps_across_it_are_longer(opcode: int) -> None:
    code = jump(2, opcode) + MARK + step(1) + MARK + jump(-4, opcode) + jump(0, opcode) + EXIT
    assert expand(code) == (
        jump(3, opcode) + TWO + step(1) + TWO + jump(-6, opcode) + jump(0, opcode) + EXIT
    )


def test_a_jump_to_it_arrives_before_both() -> None:
    assert expand(jump(1) + MARK + MARK + EXIT) == jump(2) + TWO + TWO + EXIT
    assert expand(MARK + jump(-2) + EXIT) == TWO + jump(-3) + EXIT


def test_numbers_that_look_like_jumps_stay() -> None:
    # The second half of a load of 64 bits, calls of others, and the offset of a store.
    wide = INSTRUCTION.pack(0x18, 1, 0, 5) + INSTRUCTION.pack(0, 0, 0, 0x05)
    store = INSTRUCTION.pack(0x7B, 0x6A, -8, 0)
    call = INSTRUCTION.pack(0x85, 0, 0, 12)
    assert expand(wide + MARK + store + call + EXIT) == wide + TWO + store + call + EXIT


def test_every_jump_of_any_program_arrives_where_it_did() -> None:
    chance = random.Random(11)  # noqa: S311 - the same programs each time
    for _ in range(200):
        size = chance.randrange(2, 60)
        code, targets = [], {}
        for at in range(size):
            match chance.randrange(3):
                case 0:
                    targets[at] = chance.randrange(size)
                    code.append(jump(targets[at] - at - 1, 0x1D))
                case 1:
                    code.append(MARK)
                case _:
                    code.append(step(at))
        found = expand(b"".join(code))
        place = [8 * (at + code[:at].count(MARK)) for at in range(size)]
        assert len(found) == 8 * (size + code.count(MARK))
        for at, target in targets.items():
            offset = INSTRUCTION.unpack_from(found, place[at])[2]
            assert place[at] + 8 * (1 + offset) == place[target]
