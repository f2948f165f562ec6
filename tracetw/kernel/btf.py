# SPDX-License-Identifier: Apache-2.0
"""The type information of a kernel (or of an object file): where fields lie, what enums say.

Format: Documentation/bpf/btf.rst. One pass over the type section notes where each type begins, its name and its kind;
everything else is decoded on demand. A kernel with 127,000 types takes 15 ms, and a plan from it 20.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VMLINUX = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
(_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT) = range(
    1, 12
)
(_FUNC, _FUNC_PROTO, _VAR, _DATASEC, _FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64) = range(12, 20)
# Bytes that follow the 12-byte header: fixed, and per member.
_FIXED = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
_PER_MEMBER = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}
# Found by name; a union counts as a structure.
_NAMED = {_STRUCT: _STRUCT, _UNION: _STRUCT, _ENUM: _ENUM, _ENUM64: _ENUM64, _TYPEDEF: _TYPEDEF}
_VOID = 0
# What stays in the processor's cache.
_WORDS_AT_ONCE = 1 << 14
# Modifiers on modifiers, and structures in structures, that a sane compiler makes.
_DEEPEST = 64
_MODIFIERS = {_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG}


class BtfError(ValueError):
    """The bytes are no BTF that we can read, or hold no such type or field."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where a field lies in its outermost structure."""

    offset: int
    """bytes"""
    size: int
    """bytes (of the storage unit for a bit field)"""
    pointer: bool
    bit_offset: int = 0
    bit_size: int = 0
    """0: not a bit field"""


class Btf:
    """Types of one BTF blob, by name.

    Raises :class:`BtfError` for bytes that are not BTF (version 1, native byte order).
    """

    def __init__(self, blob: bytes) -> None:
        try:
            magic, version, _flags, header, type_off, type_len, str_off, str_len = (
                struct.unpack_from("=HBBIIIII", blob)
            )
        except struct.error as error:
            raise BtfError(f"BTF header cut short ({len(blob)} bytes)") from error
        if magic != _MAGIC or version != 1:
            raise BtfError(f"not BTF version 1 in native byte order (magic {magic:#x})")
        self._blob = blob
        # Types and names stay in the blob, which is some MB: a copy would cost more than the rest.
        self._types = header + type_off
        self._strings = header + str_off
        self._end = self._strings + str_len
        if max(self._types + type_len, self._end) > len(blob) or (self._types | type_len) % 4:
            raise BtfError(f"BTF cut short: {len(blob)} bytes, its header names more")
        words = np.frombuffer(blob, "=u4", type_len // 4, self._types)
        try:
            begin = np.array(_begins(words), np.uint32)
        except IndexError as error:
            raise BtfError("BTF damaged: its types do not end with its type section") from error
        # Of each type, by its number: where it begins in the blob, its name and kind. Number 0 is void.
        self._start = array("I", [0])
        self._start.frombytes((begin * 4 + self._types).astype("=u4").tobytes())
        self._name = np.append(np.uint32(0), words[begin])
        self._kind = np.append(np.uint8(_VOID), (words[begin + 1] >> 24 & 31).astype(np.uint8))
        self._known: dict[tuple[tuple[int, ...], str], int | None] = {}

    @classmethod
    def read(cls, path: Path = VMLINUX) -> Btf:
        """Read a BTF file. Raises OSError, BtfError."""
        return cls(path.read_bytes())

    def _name_offsets(self, name: str) -> Iterator[int]:
        """Every place in the string section where exactly this name stands."""
        wanted = b"\0" + name.encode() + b"\0"
        at = self._blob.find(wanted, self._strings, self._end)
        while at >= 0:
            yield at + 1 - self._strings
            at = self._blob.find(wanted, at + 1, self._end)

    def _find(self, kinds: tuple[int, ...], name: str) -> int:
        if (kinds, name) not in self._known:
            self._known[kinds, name] = self._search(kinds, name)
        number = self._known[kinds, name]
        if number is None:
            raise BtfError(f"no type {name}")
        return number

    def _search(self, kinds: tuple[int, ...], name: str) -> int | None:
        """The first type of this name of the first of these kinds that has one."""
        for offset in self._name_offsets(name):
            numbers = np.flatnonzero(self._name == offset).tolist()
            for kind in kinds:
                for number in numbers:
                    if _NAMED.get(int(self._kind[number])) == kind:
                        return int(number)
        return None

    def _unpack(self, code: str, pos: int) -> tuple[int, ...]:
        """Numbers at a place in the blob. Raises BtfError beyond its end."""
        try:
            return struct.unpack_from(code, self._blob, pos)
        except struct.error as error:
            raise BtfError("BTF damaged: a type reaches beyond the end") from error

    def _rows(self, code: str, pos: int, count: int) -> Iterator[tuple[int, ...]]:
        """``count`` rows of numbers at a place in the blob."""
        step = struct.calcsize(code)
        return (self._unpack(code, pos + step * i) for i in range(count))

    def _header(self, number: int) -> tuple[int, int, int, int, int]:
        """(name offset, kind, vlen, kind flag, size or type) of a type."""
        if not 0 <= number < len(self._start):
            raise BtfError(f"BTF damaged: no type has number {number}")
        if not number:
            return 0, _VOID, 0, 0, 0
        name, info, size = self._unpack("=III", self._start[number])
        return name, info >> 24 & 31, info & 0xFFFF, info >> 31, size

    def _text(self, offset: int) -> str:
        begin = self._strings + offset
        end = self._blob.find(b"\0", begin, self._end)
        if end < 0:
            raise BtfError(f"BTF damaged: no name at {offset}")
        return self._blob[begin:end].decode(errors="replace")

    def _strip(self, number: int) -> int:
        for _ in range(_DEEPEST):
            _, kind, _, _, target = self._header(number)
            if kind not in _MODIFIERS:
                return number
            number = target
        raise BtfError("BTF damaged: a type refers to itself")

    def _size(self, number: int) -> int:
        number = self._strip(number)
        _, kind, _, _, size = self._header(number)
        if kind == _PTR:
            return 8
        if kind == _ARRAY:
            element, _, count = self._unpack("=III", self._start[number] + 12)
            return self._size(element) * count
        return size

    def size(self, name: str) -> int:
        """Bytes of ``struct name``. Raises BtfError."""
        return self._size(self._find((_STRUCT,), name))

    def has(self, name: str) -> bool:
        """Is there a structure, enum or typedef of this name?"""
        try:
            self._find((_STRUCT, _ENUM, _ENUM64, _TYPEDEF), name)
        except BtfError:
            return False
        return True

    def number(self, name: str) -> int:
        """Id of ``struct name``, for the verifier. Raises BtfError."""
        return self._find((_STRUCT,), name)

    def function(self, name: str) -> int | None:
        """Id of a kernel function; None when the kernel has none of this name."""
        return self.functions([name]).get(name)

    def functions(self, names: Iterable[str]) -> dict[str, int]:
        """Ids of those of these kernel functions that exist; the first where several have one name."""
        offsets = {offset: name for name in names for offset in self._name_offsets(name)}
        of_these = np.isin(self._name, np.fromiter(offsets, "u4", len(offsets)))
        found: dict[str, int] = {}
        for number in np.flatnonzero(of_these & (self._kind == _FUNC)).tolist():
            found.setdefault(offsets[int(self._name[number])], number)
        return found

    def parameters(self, function: int) -> tuple[str, ...]:
        """What each parameter of a function is: the structure it points to, or the type's name."""
        proto = self._header(function)[4]
        count = self._header(proto)[2]
        kinds = [kind for _, kind in self._rows("=II", self._start[proto] + 12, count)]
        return tuple(self._pointed_to(kind) for kind in kinds)

    def _pointed_to(self, number: int) -> str:
        stripped = self._strip(number)
        _, kind, _, _, target = self._header(stripped)
        if kind != _PTR:
            return self._text(self._header(number)[0])
        name = self._header(self._strip(target))[0]
        return self._text(name)

    def members(self, struct_name: str) -> list[tuple[str, Field, str]]:
        """Named members of a structure in order: name, place, name of the element's base type."""
        number = self._find((_STRUCT,), struct_name)
        return [
            (self._text(name), self._field(base, flag, kind), self._base_name(kind))
            for name, base, flag, kind in self._members(number)
        ]

    def _base_name(self, number: int) -> str:
        _, kind, _, _, _ = self._header(number)
        if kind == _ARRAY:
            (number,) = self._unpack("=I", self._start[number] + 12)
        return self._text(self._header(number)[0])

    def _members(self, number: int) -> Iterator[tuple[int, int, int, int]]:
        """Of each member: place of its name, offset, kind flag of the structure, type."""
        _, kind, vlen, flag, _ = self._header(number)
        if kind not in (_STRUCT, _UNION):
            return
        pos = self._start[number] + 12
        for name, target, offset in self._rows("=III", pos, vlen):
            yield name, offset, flag, target

    def _field(self, raw: int, flag: int, target: int) -> Field:
        bits, bit_size = (raw & 0xFFFFFF, raw >> 24) if flag else (raw, 0)
        stripped = self._strip(target)
        pointer = self._header(stripped)[1] == _PTR
        size = self._size(target)
        if not bit_size:
            return Field(bits // 8, size, pointer)
        unit = bits // 8 // size * size
        return Field(unit, size, pointer, bits - unit * 8, bit_size)

    def field(self, path: str) -> Field:
        """Place of ``struct.member.member`` (anonymous unions are looked through).

        Raises :class:`BtfError` when the structure or a member does not exist.
        """
        struct_name, *names = path.split(".")
        number, base = self._find((_STRUCT,), struct_name), 0
        field = Field(0, 0, pointer=False)
        for name in names:
            found = self._member(self._strip(number), name)
            if found is None:
                raise BtfError(f"no field {path} ({name})")
            field, number = found
            base += field.offset
        return Field(base, field.size, field.pointer, field.bit_offset, field.bit_size)

    def _member(self, number: int, wanted: str) -> tuple[Field, int] | None:
        text = wanted.encode() + b"\0"
        for name, raw, flag, target in self._members(number):
            begin = self._strings + name
            if self._blob.startswith(text, begin, self._end):
                return self._field(raw, flag, target), target
            if begin < self._end and not self._blob[begin]:
                inner = self._member(self._strip(target), wanted)
                if inner is not None:
                    field, at = inner
                    offset = raw // 8 + field.offset
                    return Field(
                        offset, field.size, field.pointer, field.bit_offset, field.bit_size
                    ), at
        return None

    def has_field(self, path: str) -> bool:
        """Does :meth:`field` know this path?"""
        try:
            self.field(path)
        except BtfError:
            return False
        return True

    def enum(self, name: str) -> dict[str, int]:
        """Values of ``enum name`` (or of the enum that a typedef names). Raises BtfError."""
        return self._enumerators(self._find((_ENUM, _ENUM64), name))

    def enum_with(self, member: str) -> dict[str, int]:
        """Values of the first enum, named or not, that has this member. Raises BtfError."""
        offsets = set(self._name_offsets(member))
        for number in np.flatnonzero(self._kind == _ENUM).tolist():
            _, _, vlen, _, _ = self._header(number)
            pos = self._start[number] + 12
            if any(name in offsets for name, _ in self._rows("=Ii", pos, vlen)):
                return self._enumerators(number)
        raise BtfError(f"no enum with {member}")

    def _enumerators(self, number: int) -> dict[str, int]:
        _, kind, vlen, signed, _ = self._header(number)
        pos = self._start[number] + 12
        if kind == _ENUM64:
            rows = self._rows("=III", pos, vlen)
            bias = 1 << 64 if signed else 0
            return {
                self._text(name): value - (bias if value >> 63 else 0)
                for name, value in ((name, low | high << 32) for name, low, high in rows)
            }
        code = "=Ii" if signed else "=II"
        rows = self._rows(code, pos, vlen)
        return {self._text(row[0]): row[1] for row in rows}

    def tracepoint_args(self, event: str) -> int | None:
        """Number of arguments of a raw tracepoint; None when the kernel has no such tracepoint.

        Source: ``typedef void (*btf_trace_<event>)(void *, TP_PROTO)``, include/trace/bpf_probe.h.
        The first parameter is the tracepoint's private data, not an argument.
        """
        try:
            number = self._find((_TYPEDEF,), f"btf_trace_{event}")
        except BtfError:
            return None
        pointer = self._strip(number)
        proto = self._strip(self._header(pointer)[4])
        return self._header(proto)[2] - 1


def _begins(words: NDArray[np.uint32]) -> array[int]:
    """In which word of a type section each type begins; the first has number 1. Raises IndexError if one is cut off."""
    fixed, of_member = np.zeros(32, np.uint32), np.zeros(32, np.uint32)
    for kind in range(32):
        fixed[kind] = 3 + _FIXED.get(kind, 0) // 4
        of_member[kind] = _PER_MEMBER.get(kind, 0) // 4
    begins = array("I")
    append, at, end = begins.append, 0, len(words)
    # As if a type began in each word: how long would it be? The word behind has kind and number of members.
    for low in range(0, end - 1, _WORDS_AT_ONCE):
        infos = words[low + 1 : low + 1 + _WORDS_AT_ONCE]
        kinds = infos >> 24 & 31
        sizes = (of_member[kinds] * (infos & 0xFFFF) + fixed[kinds]).data
        high = low + len(infos)
        while at < high:
            append(at)
            at += sizes[at - low]
    if at != end:
        raise IndexError(at)
    return begins
